"""The camera loop on a CPU, on pictures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from engine_bundles import tiny_bundle, tiny_target
from PIL import Image

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
