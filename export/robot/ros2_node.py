"""A ROS 2 node: `image` (sensor_msgs/Image, rgb8 or bgr8) -> `labels` (mono8 train ids).

    python ros2_node.py --ros-args -p bundle:=BUNDLE -p backend:=tensorrt -r image:=/camera/image

The labels carry the header of their image and its size. The subscription keeps one image only, so
that a slow network makes images drop, never the labels late. No cv_bridge: numpy reads the bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from artoolkit.backends import open_runner
from artoolkit.errors import ArtoolkitError, DataError
from artoolkit.evidence.bundle import open_bundle
from artoolkit.preprocess import fit_image, fit_labels

Pixels = NDArray[np.uint8]
CHANNELS = {"rgb8": slice(None), "bgr8": slice(None, None, -1)}


def pixels(message: Any) -> Pixels:
    """The RGB pixels of an image message, whatever its row padding."""
    if message.encoding not in CHANNELS:
        raise DataError(
            "the camera's encoding is not known",
            got=message.encoding,
            expected=" or ".join(CHANNELS),
            hint="Convert it before, for example with image_proc.",
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : message.width * 3].reshape(message.height, message.width, 3)
    return np.ascontiguousarray(image[..., CHANNELS[message.encoding]])


def message_of(labels: Pixels, header: Any) -> Any:
    """A mono8 image message of H x W train ids."""
    message = Image()
    message.header = header
    message.height, message.width = labels.shape
    message.encoding, message.step, message.is_bigendian = "mono8", labels.shape[1], 0
    message.data = labels.tobytes()
    return message


class Segmenter(Node):  # type: ignore[misc]  # rclpy has no types
    """Labels every image that it is in time for."""

    def __init__(self) -> None:
        super().__init__("artoolkit_segmenter")
        self.declare_parameter("bundle", "")
        self.declare_parameter("backend", "")
        self.declare_parameter("device", "")
        bundle, backend, device = (
            self.get_parameter(name).value or None for name in ("bundle", "backend", "device")
        )
        if bundle is None:
            raise DataError("no bundle was given", hint="Add: --ros-args -p bundle:=BUNDLE")
        opened = open_bundle(Path(bundle))
        self._imgsz = opened.manifest.target.imgsz
        self._runner = open_runner(opened, backend=backend, device=device)
        newest_only = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = self.create_publisher(Image, "labels", 1)
        self.create_subscription(Image, "image", self._on_image, newest_only)
        self.get_logger().info(f"{bundle} on {self._runner.spec.backend}, classes 0 to "
                               f"{opened.manifest.num_classes - 1}")  # fmt: skip

    def _on_image(self, message: Any) -> None:
        try:
            image = pixels(message)
        except DataError as error:
            self.get_logger().error(str(error))
            return
        small = self._runner.infer(fit_image(image, self._imgsz)[None])["labels"][0]
        labels = fit_labels(small, (image.shape[0], image.shape[1]))
        self._publisher.publish(message_of(labels, message.header))

    def destroy_node(self) -> None:
        self._runner.close()
        super().destroy_node()


def main() -> None:
    """Spin until Ctrl-C; a bundle that cannot be opened ends it with one line."""
    rclpy.init()
    try:
        node = Segmenter()
    except ArtoolkitError as error:
        rclpy.shutdown()
        raise SystemExit(f"error: {error}") from error
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
