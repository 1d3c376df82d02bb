"""The robot's programs on a CPU: the camera loop on pictures, the ROS 2 node on faked messages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from engine_bundles import tiny_bundle, tiny_target
from PIL import Image

from artoolkit.backends import open_runner
from artoolkit.errors import DataError
from artoolkit.evidence.bundle import open_bundle

ROOT = Path(__file__).parent.parent.parent


def load(name: str) -> ModuleType:
    path = ROOT / "export" / "robot" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tmp_path) -> Path:
    return tiny_bundle(tmp_path, tiny_target("cpu")).path


def pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_every_picture_of_a_folder_gets_a_label_map_of_its_size(bundle, tmp_path):
    loop, out = load("camera_loop"), tmp_path / "labels"
    source = pictures(tmp_path / "in")
    arguments = [str(bundle), "--source", str(source), "--out", str(out)]
    result = CliRunner().invoke(loop.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("3 frames, 0 dropped; frame to labels: median")
    assert [p.name for p in sorted(out.iterdir())] == ["000000.png", "000001.png", "000002.png"]
    with Image.open(out / "000001.png") as labels:
        assert labels.size == (80, 48)


def test_it_stops_after_so_many(bundle, tmp_path):
    used = []
    followed = load("camera_loop").run(
        bundle, str(pictures(tmp_path / "in")), lambda *seen: used.append(seen), most=1
    )
    assert len(followed.latencies_ms) == len(used) == 1
    assert followed.latencies_ms[0] > 0


def test_ctrl_c_ends_the_loop_with_its_times(bundle, tmp_path):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    followed = load("camera_loop").run(bundle, str(pictures(tmp_path / "in")), interrupted)
    assert len(followed.latencies_ms) == 1


def test_a_folder_without_a_picture_and_a_camera_that_is_not_there_are_one_line(bundle, tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "empty").mkdir()
    loop = load("camera_loop")
    for source, problem in ((tmp_path / "empty", "no frame"), ("nowhere.mp4", "cannot be opened")):
        result = CliRunner().invoke(loop.main, [str(bundle), "--source", str(source)])
        assert result.exit_code == 1
        assert problem in str(result.exception)


class FakeNode:
    def __init__(self, name: str) -> None:
        self.published, self.errors, self.values = [], [], dict(FakeNode.given)

    def declare_parameter(self, name, default):
        self.values.setdefault(name, default)

    def get_parameter(self, name):
        return SimpleNamespace(value=self.values[name])

    def create_publisher(self, kind, topic, depth):
        return SimpleNamespace(publish=self.published.append)

    def create_subscription(self, kind, topic, callback, quality):
        self.callback, self.quality = callback, quality

    def get_logger(self):
        return SimpleNamespace(info=lambda text: None, error=self.errors.append)

    def destroy_node(self):
        self.destroyed = True


@pytest.fixture
def ros(monkeypatch):
    """A module of ROS 2 that is enough for the node."""

    def module(name: str, **content) -> None:
        made = ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)

    module("rclpy")
    module("rclpy.node", Node=FakeNode)
    module("rclpy.qos", QoSProfile=SimpleNamespace,
           ReliabilityPolicy=SimpleNamespace(BEST_EFFORT="best effort"))  # fmt: skip
    module("sensor_msgs")
    module("sensor_msgs.msg", Image=SimpleNamespace)
    return load("ros2_node")


def image_message(image: np.ndarray, encoding: str, padding: int = 0) -> SimpleNamespace:
    height, width, _ = image.shape
    rows = np.zeros((height, width * 3 + padding), np.uint8)
    rows[:, : width * 3] = image.reshape(height, -1)
    return SimpleNamespace(
        header="stamp", height=height, width=width, encoding=encoding, step=rows.shape[1],
        data=rows.tobytes(),
    )  # fmt: skip


def test_the_node_labels_an_image_of_the_networks_size_as_the_runner_does(ros, bundle):
    FakeNode.given = {"bundle": str(bundle), "backend": "onnxruntime"}
    node = ros.Segmenter()
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    node.callback(image_message(image, "rgb8"))
    node.callback(image_message(image[..., ::-1], "bgr8", padding=5))
    first, second = node.published
    with open_runner(open_bundle(bundle)) as runner:
        expected = runner.infer(image[None])["labels"][0]
    assert (first.header, first.encoding, first.height, first.width) == ("stamp", "mono8", 32, 64)
    assert np.array_equal(np.frombuffer(first.data, np.uint8).reshape(32, 64), expected)
    assert second.data == first.data
    assert node.quality.depth == 1
    node.destroy_node()
    assert node.destroyed


def test_the_node_keeps_the_cameras_size_and_reports_an_unknown_encoding(ros, bundle):
    FakeNode.given = {"bundle": str(bundle)}
    node = ros.Segmenter()
    node.callback(image_message(np.zeros((50, 70, 3), np.uint8), "rgb8"))
    assert (node.published[0].height, node.published[0].width) == (50, 70)
    node.callback(image_message(np.zeros((50, 70, 3), np.uint8), "yuv422"))
    assert len(node.published) == 1 and "got yuv422" in node.errors[0]


def test_the_node_without_a_bundle_says_how_to_give_one(ros):
    FakeNode.given = {}
    with pytest.raises(DataError, match="-p bundle:=BUNDLE"):
        ros.Segmenter()
