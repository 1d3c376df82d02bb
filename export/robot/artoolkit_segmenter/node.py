"""A ROS 2 node: `image` (sensor_msgs/Image) -> `labels` (mono8 train ids), with `/diagnostics`.

    ros2 launch artoolkit_segmenter segmenter.launch.py bundle:=BUNDLE image:=/camera/image_raw

The labels carry the header of their image and its size. The subscription keeps one image only, so
that a slow network makes images drop, never the labels late. A frame that cannot be labelled is
counted, logged once every 5 s and shown in the diagnostics; the node goes on.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from artoolkit.backends import open_runner
from artoolkit.errors import ArtoolkitError, DataError
from artoolkit.evidence.bundle import open_bundle
from artoolkit.preprocess import fit_image, fit_labels
from artoolkit_segmenter.encodings import Pixels, pixels

# Empty: what the bundle's target says.
PARAMETERS = {"bundle": "", "backend": "", "device": "", "cuda_memory": "", "cuda_graph": False}
# Frames that the times in the diagnostics are of: ten seconds of a camera.
KEPT = 300


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
        for name, default in PARAMETERS.items():
            self.declare_parameter(name, default)
        self.declare_parameter("reliable", False)
        self.declare_parameter("diagnostics_s", 1.0)
        asked = {name: self.get_parameter(name).value or None for name in PARAMETERS}
        bundle = asked.pop("bundle")
        if bundle is None:
            raise DataError("no bundle was given", hint="Add: --ros-args -p bundle:=BUNDLE")
        opened = open_bundle(Path(bundle))
        self._imgsz = opened.manifest.target.imgsz
        self._runner = open_runner(opened, **asked)
        self._manifest = opened.manifest.sha256
        self._times_ms: deque[float] = deque(maxlen=KEPT)
        self._labelled = self._told = self._bad = self._bad_since = 0
        self._last_error = ""
        policy = ReliabilityPolicy
        reliable = self.get_parameter("reliable").value
        newest_only = QoSProfile(
            depth=1, reliability=policy.RELIABLE if reliable else policy.BEST_EFFORT
        )
        self._publisher = self.create_publisher(Image, "labels", 1)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self.create_subscription(Image, "image", self._on_image, newest_only)
        self.create_timer(float(self.get_parameter("diagnostics_s").value), self._tell)
        self.get_logger().info(f"{bundle} on {self._runner.spec.backend}, classes 0 to "
                               f"{opened.manifest.num_classes - 1}")  # fmt: skip

    def _on_image(self, message: Any) -> None:
        start = time.perf_counter()
        try:
            image = pixels(message)
            small = self._runner.infer(fit_image(image, self._imgsz)[None])["labels"][0]
            labels = fit_labels(small, (image.shape[0], image.shape[1]))
            self._publisher.publish(message_of(labels, message.header))
        except Exception as error:  # whatever one frame does: the robot needs the next one
            self._bad += 1
            self._bad_since += 1
            self._last_error = str(error).partition("\n")[0]
            self.get_logger().error(self._last_error, throttle_duration_sec=5.0)
            return
        self._labelled += 1
        self._times_ms.append((time.perf_counter() - start) * 1e3)

    def _tell(self) -> None:
        """Publish the state: WARN where frames were bad since the last time, ERROR if all were."""
        status = DiagnosticStatus(name=self.get_name(), hardware_id=self._runner.spec.device)
        status.level, status.message = DiagnosticStatus.OK, "labelling"
        if not self._labelled:
            status.level, status.message = DiagnosticStatus.WARN, "no image yet"
        if self._bad_since:
            good = self._labelled > self._told
            status.level = DiagnosticStatus.WARN if good else DiagnosticStatus.ERROR
            status.message = self._last_error
        times = list(self._times_ms) or [0.0]
        values = {
            "labelled": self._labelled,
            "bad frames": self._bad,
            "latency median (ms)": f"{np.median(times):.2f}",
            "latency p95 (ms)": f"{np.percentile(times, 95):.2f}",
            "backend": self._runner.spec.backend,
            "manifest": self._manifest,
        }
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)
        self._told, self._bad_since = self._labelled, 0

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
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
