"""The ROS 2 node with stub messages and, where rclpy is installed, with the real ones."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_bundles import tiny_bundle, tiny_target

from artoolkit.backends import open_runner
from artoolkit.errors import DataError
from artoolkit.evidence.bundle import open_bundle

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "export" / "robot"
# Wheels of ROS 2 from PyPI; the last is what carries the messages.
ROS = ("ros-rclpy", "ros-sensor-msgs", "ros-diagnostic-msgs", "ros-rmw-fastrtps-cpp")
SIZE = (32, 64)
BAD = {"encoding": "rgb8", "height": 4, "width": 4, "step": 12, "data": b"short"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("node"), tiny_target("cpu")).path


class StubNode:
    """As much of rclpy's Node as the segmenter asks for; nothing is delivered by itself."""

    given: dict[str, Any] = {}

    def __init__(self, name: str) -> None:
        self.name, self.values, self.errors = name, dict(self.given), []
        self.published: dict[str, list[Any]] = {}
        self.callback: Callable[[Any], None]
        self.timer: Callable[[], None]

    def get_name(self):
        return self.name

    def declare_parameter(self, name, default):
        self.values.setdefault(name, default)

    def get_parameter(self, name):
        return SimpleNamespace(value=self.values[name])

    def create_publisher(self, kind, topic, depth):
        return SimpleNamespace(publish=self.published.setdefault(topic, []).append)

    def create_subscription(self, kind, topic, callback, quality):
        self.callback, self.quality = callback, quality

    def create_timer(self, seconds, callback):
        self.timer, self.seconds = callback, seconds

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: "now"))

    def get_logger(self):
        def error(text, throttle_duration_sec):
            self.errors.append(text)

        return SimpleNamespace(info=lambda text: None, error=error)

    def destroy_node(self):
        self.destroyed = True


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`artoolkit_segmenter` on the path, imported anew."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield
    for name in [n for n in sys.modules if n.startswith("artoolkit_segmenter")]:
        del sys.modules[name]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, package: None) -> ModuleType:
    def module(name: str, **content: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)

    kind = type("Kind", (SimpleNamespace,), {})
    status = type("Status", (SimpleNamespace,), {"OK": b"\0", "WARN": b"\1", "ERROR": b"\2"})
    array = type("Array", (SimpleNamespace,), {"header": SimpleNamespace()})
    module("rclpy")
    module("rclpy.node", Node=StubNode)
    policy = SimpleNamespace(BEST_EFFORT="best effort", RELIABLE="sure")
    module("rclpy.qos", QoSProfile=SimpleNamespace, ReliabilityPolicy=policy)
    module("sensor_msgs")
    module("sensor_msgs.msg", Image=SimpleNamespace)
    module("diagnostic_msgs")
    module("diagnostic_msgs.msg", DiagnosticArray=array, DiagnosticStatus=status, KeyValue=kind)
    return importlib.import_module("artoolkit_segmenter.node")


def message(image: np.ndarray, encoding: str, padding: int = 0) -> SimpleNamespace:
    """An image message of H x W x C bytes, `padding` bytes behind each row."""
    height, width = image.shape[:2]
    flat = image.reshape(height, -1)
    rows = np.zeros((height, flat.shape[1] + padding), np.uint8)
    rows[:, : flat.shape[1]] = flat
    return SimpleNamespace(
        header="stamp", height=height, width=width, encoding=encoding, step=rows.shape[1],
        data=rows.tobytes(),
    )  # fmt: skip


def opened(stub: ModuleType, bundle: Path, **parameters: Any) -> Any:
    StubNode.given = {"bundle": str(bundle), **parameters}
    return stub.Segmenter()


def test_an_image_of_the_networks_size_is_labelled_as_by_the_runner(stub, bundle):
    node = opened(stub, bundle, backend="onnxruntime", cuda_memory="")
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    node.callback(message(image, "rgb8"))
    node.callback(message(image[..., ::-1], "bgr8", padding=5))
    first, second = node.published["labels"]
    with open_runner(open_bundle(bundle)) as runner:
        expected = runner.infer(image[None])["labels"][0]
    assert (first.header, first.encoding, first.height, first.width) == ("stamp", "mono8", *SIZE)
    assert np.array_equal(np.frombuffer(first.data, np.uint8).reshape(SIZE), expected)
    assert second.data == first.data
    assert node.quality.depth == 1 and node.quality.reliability == "best effort"
    node.destroy_node()
    assert node.destroyed


def test_labels_have_the_cameras_size_and_a_bad_frame_is_only_counted(stub, bundle):
    node = opened(stub, bundle, reliable=True, diagnostics_s=0.5)
    image = np.zeros((50, 70, 3), np.uint8)
    node.timer()
    node.callback(message(image, "bayer_rggb8"))
    node.callback(SimpleNamespace(header="stamp", **BAD))
    node.timer()
    node.callback(message(image, "rgb8"))
    node.callback(SimpleNamespace(header="stamp", **BAD))
    node.timer()
    node.timer()
    labels = node.published["labels"]
    assert [(one.height, one.width) for one in labels] == [(50, 70)]
    assert "got bayer_rggb8" in node.errors[0] and "does not hold what it says" in node.errors[1]
    told = [array.status[0] for array in node.published["/diagnostics"]]
    assert [status.level for status in told] == [b"\1", b"\2", b"\1", b"\0"]
    assert told[0].message == "no image yet" and "does not hold" in told[1].message
    values = {pair.key: pair.value for pair in told[3].values}
    assert (values["labelled"], values["bad frames"]) == ("1", "3")
    assert float(values["latency p95 (ms)"]) > 0
    assert (node.seconds, node.quality.reliability) == (0.5, "sure")


def test_a_network_that_fails_does_not_end_the_node(stub, bundle, monkeypatch):
    node = opened(stub, bundle)
    monkeypatch.setattr(node._runner, "infer", lambda batch: 1 / 0)
    node.callback(message(np.zeros((*SIZE, 3), np.uint8), "rgb8"))
    assert node.errors == ["division by zero"]


def test_without_a_bundle_it_says_how_to_give_one(stub):
    StubNode.given = {}
    with pytest.raises(DataError, match="-p bundle:=BUNDLE"):
        stub.Segmenter()


def encoded(image: np.ndarray, encoding: str) -> np.ndarray:
    """The RGB image as bytes of the encoding; YUV by OpenCV, and what it lacks from its parts."""
    cv2 = pytest.importorskip("cv2")
    if encoding in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2"):
        yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
        height, width = image.shape[:2]
        luma = yuv[:height]
        u, v = yuv[height:].reshape(2, height // 2, width // 2).repeat(2, 1)
        pairs = [u, luma[:, ::2], v, luma[:, 1::2]]
        if encoding.startswith("yuy") or encoding.endswith("yuy2"):
            pairs = [luma[:, ::2], u, luma[:, 1::2], v]
        return np.stack(pairs, -1).reshape(height, -1)
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    height, width = image.shape[:2]
    planes = list(yuv[height:].reshape(2, height // 2, width // 2))
    color = np.stack(planes if encoding == "nv12" else planes[::-1], -1)
    return np.concatenate([yuv[:height], color.reshape(height // 2, width)])


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"])
def test_yuv_is_converted_as_opencv_does(stub, encoding):
    from artoolkit_segmenter.encodings import pixels

    cv2 = pytest.importorskip("cv2")
    coarse = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    image = cv2.resize(coarse, (24, 16), interpolation=cv2.INTER_LINEAR)
    made = message(encoded(image, encoding), encoding, padding=3)
    made.height, made.width = image.shape[:2]
    reference = cv2.cvtColor(
        cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), cv2.COLOR_YUV2RGB_I420
    ).astype(int)
    assert np.abs(pixels(made).astype(int) - reference).max() <= 2


def test_every_order_of_channels_gives_the_same_picture(stub):
    from artoolkit_segmenter.encodings import READERS, pixels

    image = np.random.default_rng(2).integers(0, 256, (4, 6, 3), np.uint8)
    alpha = np.full((4, 6, 1), 7, np.uint8)
    reverse = image[..., ::-1]
    held = {
        "rgb8": image, "bgr8": reverse, "8UC3": reverse, "rgba8": np.dstack([image, alpha]),
        "bgra8": np.dstack([reverse, alpha]), "8UC4": np.dstack([reverse, alpha]),
    }  # fmt: skip
    for (encoding, value), padding in itertools.product(held.items(), (0, 2)):
        assert np.array_equal(pixels(message(value, encoding, padding)), image), encoding
    for encoding in ("mono8", "8UC1"):
        grey = pixels(message(image[..., 0], encoding))
        assert np.array_equal(grey, image[..., :1].repeat(3, -1))
    yuv = {"uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"}
    assert {*held, "mono8", "8UC1"} | yuv == set(READERS)


@pytest.mark.parametrize(
    "change",
    [{"data": b""}, {"step": 5}, {"width": 0}, {"height": 99}, {"encoding": "uyvy", "width": 3}],
)
def test_a_message_that_lies_is_a_data_error(stub, change):
    from artoolkit_segmenter.encodings import pixels

    made = message(np.zeros((4, 6, 3), np.uint8), "rgb8")
    made.__dict__.update(change)
    with pytest.raises(DataError, match="does not hold what it says"):
        pixels(made)


@pytest.fixture(scope="module")
def ros_python(python_with: Callable[..., Path]) -> Path:
    """Python of an environment of its own with rclpy, and with all that this one has behind it.

    Of its own, because the wheels start every Python of their environment anew, with other paths.
    """
    python = python_with("rclpy", *ROS)
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    behind = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "zz_behind.pth").write_text("\n".join(behind))
    return python


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="rclpy's wheels are for Linux")
def test_real_messages_go_through_the_real_node(ros_python, bundle):
    """A camera publishes, bad frames among the good ones; labels and diagnostics come back."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGE}",
        "ROS_DOMAIN_ID": str(os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    ran = subprocess.run(
        [str(ros_python), str(Path(__file__).with_name("real_messages.py")), str(bundle)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "labels as by the runner, bad frames counted"
