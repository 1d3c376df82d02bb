"""The ROS 2 package: what it declares, its launch file on stubs, and `colcon build`."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from engine_bundles import tiny_bundle, tiny_target

PACKAGE = Path(__file__).parents[2] / "export" / "robot"
NAME = "artoolkit_segmenter"
COLCON = ("colcon-core", "colcon-ros", "colcon-python-setup-py", "colcon-recursive-crawl")


def launched(monkeypatch: pytest.MonkeyPatch, file: Path) -> list[Any]:
    """The actions of a launch file, each a SimpleNamespace of what it was given."""

    def action(*names: Any, **given: Any) -> SimpleNamespace:
        return SimpleNamespace(names=names, **given)

    parts = {
        "launch": {"LaunchDescription": list},
        "launch.actions": {"DeclareLaunchArgument": action, "OpaqueFunction": action},
        "launch.substitutions": {"LaunchConfiguration": lambda name: f"<{name}>"},
        "launch_ros": {},
        "launch_ros.actions": {"Node": action, "ComposableNodeContainer": action},
        "launch_ros.descriptions": {"ComposableNode": action},
        "ament_index_python": {},
        "ament_index_python.packages": {"get_package_share_directory": lambda name: f"/{name}"},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("launch_file", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    actions: list[Any] = module.generate_launch_description()
    return actions


def test_versions_and_names_are_one():
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()
    assert package.findtext("name") == NAME
    version = package.findtext("version")
    assert package.findtext("export/build_type") == "ament_python"
    setup = (PACKAGE / "setup.py").read_text()
    assert f'version="{version}"' in setup and f'NAME = "{NAME}"' in setup
    depends = {one.text for one in package.findall("exec_depend")}
    source = "".join(p.read_text() for p in PACKAGE.glob("**/*.py") if p.name != "setup.py")
    imported = set(
        re.findall(r"^(?:from|import) (rclpy|\w+_msgs|launch_ros)", source, re.MULTILINE)
    )
    assert imported == depends


def test_the_launch_file_starts_the_node_with_its_parameters(monkeypatch):
    *arguments, node = launched(monkeypatch, PACKAGE / "launch" / "segmenter.launch.py")
    assert [one.names[0] for one in arguments] == ["bundle", "image", "labels", "parameters"]
    assert (node.package, node.name, node.executable) == (NAME, NAME, "segmenter")
    assert node.parameters == ["<parameters>", {"bundle": "<bundle>"}]
    assert node.remappings == [("image", "<image>"), ("labels", "<labels>")]
    assert Path(arguments[-1].default_value) == Path("/", NAME, "config", "segmenter.yaml")
    source = (PACKAGE / NAME / "node.py").read_text()
    written = re.findall(r"^    (\w+):", (PACKAGE / "config" / "segmenter.yaml").read_text(), re.M)
    assert written and all(f'"{name}"' in source for name in written)


def test_isaac_ros_is_wired_from_camera_to_mask(monkeypatch, tmp_path):
    """Every topic that a node reads is one that the node before it writes, or the camera's."""
    form = {"layout": "nchw_float32", "labels_dtype": "int32"}
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **form))
    *declared, opaque = launched(monkeypatch, PACKAGE / "launch" / "isaac.launch.py")
    given = {one.names[0]: getattr(one, "default_value", None) for one in declared}
    given |= {"bundle": str(bundle.path), "model_repository": "/models", "image": "/camera"}
    context = SimpleNamespace(perform_substitution=lambda text: given[text.strip("<>")])
    (container,) = opaque.function(context)
    nodes = {one.plugin.rpartition(":")[2]: one for one in container.composable_node_descriptions}
    # Node -> the topics that it reads and writes, by Isaac ROS' sources.
    topics = {
        "ResizeNode": (["image", "camera_info"], ["resize/image"]),
        "ImageFormatConverterNode": (["image_raw"], ["image"]),
        "ImageToTensorNode": (["image"], ["tensor"]),
        "InterleavedToPlanarNode": (["interleaved_tensor"], ["planar_tensor"]),
        "ReshapeNode": (["tensor"], ["reshaped_tensor"]),
        "TritonNode": (["tensor_pub"], ["tensor_sub"]),
        "UNetDecoderNode": (["tensor_sub"], []),
    }
    assert list(nodes) == list(topics)
    written = {"/camera", "camera_info"}
    for name, (reads, writes) in topics.items():
        renamed = dict(nodes[name].remappings)
        assert set(renamed) <= {*reads, *writes}
        assert {renamed.get(topic, topic) for topic in reads} <= written, name
        written = {renamed.get(topic, topic) for topic in writes}
    (triton,), (decoder,) = nodes["TritonNode"].parameters, nodes["UNetDecoderNode"].parameters
    assert (triton["model_name"], triton["model_repository_paths"]) == ("tiny", ["/models"])
    assert decoder["network_output_type"] == "argmax" and decoder["mask_width"] == 64
    assert decoder["color_palette"] == [0x010101, 0x020202, 0x030303, 0x040404]
    given["bundle"] = str(tiny_bundle(tmp_path, tiny_target("cpu"), seed=1).path)
    with pytest.raises(RuntimeError, match="another form"):
        opaque.function(context)


@pytest.mark.slow
def test_colcon_builds_it(python_with, tmp_path):
    python = python_with("colcon", *COLCON)
    shutil.copytree(PACKAGE, tmp_path / "src" / NAME)
    ran = subprocess.run(
        [str(python), "-m", "colcon", "build"], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    installed = tmp_path / "install" / NAME
    assert (installed / "lib" / NAME / "segmenter").is_file()
    for made in ("launch/segmenter.launch.py", "config/segmenter.yaml", "package.xml"):
        assert (installed / "share" / NAME / made).is_file()
    assert (installed / "share/ament_index/resource_index/packages" / NAME).is_file()
    assert list(installed.glob(f"lib/python*/site-packages/{NAME}/node.py"))
