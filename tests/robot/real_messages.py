"""`python real_messages.py BUNDLE`: a camera and the segmenter, through real ROS 2."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from artoolkit_segmenter.node import Segmenter
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from artoolkit.backends import open_runner
from artoolkit.evidence.bundle import open_bundle

HEIGHT, WIDTH = 32, 64

bundle = sys.argv[1]
rclpy.init(args=["--ros-args", "-p", f"bundle:={bundle}", "-p", "diagnostics_s:=0.05"])
node = Segmenter()
camera = rclpy.create_node("camera", use_global_arguments=False)
labels, told = [], [{"labelled": "0", "bad frames": "0"}]
camera.create_subscription(Image, "labels", labels.append, 10)
camera.create_subscription(
    DiagnosticArray, "/diagnostics",
    lambda array: told.append({v.key: v.value for v in array.status[0].values}), 10,
)  # fmt: skip
publisher = camera.create_publisher(Image, "image", 10)
executor = SingleThreadedExecutor()
for one in (node, camera):
    executor.add_node(one)

pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
good = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3)
good.data = pixels.tobytes()
good.header.frame_id = "camera"
bad = Image(height=4, width=4, encoding="rgb8", step=12)
bad.data = b"short"
until = time.monotonic() + 60
while not labels or "0" in (told[-1]["labelled"], told[-1]["bad frames"]):
    assert time.monotonic() < until, f"{len(labels)} labels, {told[-1]}"
    for image in (bad, good):
        publisher.publish(image)
        for _ in range(3):
            executor.spin_once(timeout_sec=0.02)
with open_runner(open_bundle(Path(bundle))) as runner:
    expected = runner.infer(pixels[None])["labels"][0]
assert labels[0].header.frame_id == "camera" and labels[0].encoding == "mono8"
assert np.array_equal(np.asarray(labels[0].data, np.uint8).reshape(HEIGHT, WIDTH), expected)
executor.shutdown()
node.destroy_node()
camera.destroy_node()
rclpy.try_shutdown()
print("labels as by the runner, bad frames counted")
