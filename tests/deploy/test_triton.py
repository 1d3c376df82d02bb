"""The Triton repository: checked against Triton's own schema where its client can be fetched."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from engine_bundles import tiny_bundle, tiny_target
from sidecars import write_plan

from artoolkit.deploy.triton import isaac_ros_arguments, write_triton
from artoolkit.errors import EngineError, StorageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.optional import is_installed

CLIENT = "tritonclient==2.73.0"


# What Isaac ROS passes on.
ISAAC = {"layout": "nchw_float32", "labels_dtype": "int32"}


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))


@pytest.fixture(scope="module")
def schema(request) -> ModuleType:
    """Triton's `model_config_pb2`, from its client's wheel."""
    if not is_installed("google.protobuf"):
        pytest.skip("protobuf is not installed")
    folder = Path(request.config.cache.mkdir("tritonclient"))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    if not list(folder.glob("*.whl")):
        subprocess.run([*pip, CLIENT], check=False, capture_output=True, timeout=300)
    wheel = next(iter(folder.glob("*.whl")), None)
    if wheel is None:
        pytest.skip(f"pip cannot fetch {CLIENT}")
    with zipfile.ZipFile(wheel) as archive:
        source = Path(archive.extract("tritonclient/grpc/model_config_pb2.py", folder))
    spec = importlib.util.spec_from_file_location("model_config_pb2", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_is_what_tritons_schema_wants(bundle, tmp_path, schema):
    from google.protobuf import text_format

    folder = write_triton(bundle, tmp_path / "models", name='odd "name"', plan=write_plan(bundle))
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    assert config.name == 'odd "name"'
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 0)
    (image,), (labels,) = config.input, config.output
    assert (image.name, image.data_type) == ("image", schema.TYPE_UINT8)
    assert list(image.dims) == [1, 32, 64, 3] and list(labels.dims) == [1, 32, 64]
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert list(config.version_policy.specific.versions) == [1]
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    assert parameters["artoolkit.manifest"] == bundle.manifest.sha256
    assert parameters["names"] == "road,wall,sky,pole"


def test_copies_and_warm_up_are_options(bundle, tmp_path, schema):
    from google.protobuf import text_format

    folder = write_triton(bundle, tmp_path / "models", instances=2, warmup=5)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    assert config.instance_group[0].count == 2
    (warmup,) = config.model_warmup
    assert (warmup.batch_size, warmup.count) == (1, 5)
    image = warmup.inputs["image"]
    assert image.random_data and image.data_type == schema.TYPE_UINT8
    assert list(image.dims) == [1, 32, 64, 3]
    folder = write_triton(bundle, tmp_path / "cold", warmup=0)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    assert not config.model_warmup and config.instance_group[0].count == 1


def test_integers_get_the_dimension_that_isaac_ros_reads(tmp_path, schema):
    from google.protobuf import text_format

    isaac = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **ISAAC))
    folder = write_triton(isaac, tmp_path / "models")
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    (image,), (labels,) = config.input, config.output
    assert (image.data_type, list(image.dims)) == (schema.TYPE_FP32, [1, 3, 32, 64])
    assert (labels.data_type, list(labels.dims)) == (schema.TYPE_INT32, [1, 32, 64, 1])
    assert list(labels.reshape.shape) == [1, 32, 64]


def test_an_onnx_file_is_served_by_onnxruntime_on_its_device(tmp_path, schema):
    from google.protobuf import text_format

    cpu = tiny_bundle(tmp_path, tiny_target("cpu"))
    folder = write_triton(cpu, tmp_path / "models")
    config = text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())
    assert (config.backend, config.platform, config.name) == ("onnxruntime", "", "tiny")
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_CPU
    assert (folder / "1" / "model.onnx").read_bytes() == cpu.model.read_bytes()


def test_the_plan_is_copied_as_it_is(bundle, tmp_path):
    plan = write_plan(bundle)
    folder = write_triton(bundle, tmp_path / "models", plan=plan)
    assert folder == tmp_path / "models" / "tiny"
    assert (folder / "1" / "model.plan").read_bytes() == plan.read_bytes()
    assert "platform" in (folder / "config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifest": "0" * 64}, "another bundle"),
        ({"plan_bytes": 3}, "was cut"),
        ({"library": "tensorrt-rtx", "library_version": "1.7"}, "which Triton does not load"),
    ],
)
def test_an_engine_that_triton_cannot_serve_is_refused(bundle, tmp_path, change, message):
    with pytest.raises(EngineError, match=message):
        write_triton(bundle, tmp_path / "models", plan=write_plan(bundle, **change))
    assert not (tmp_path / "models").exists()


def test_a_repository_that_cannot_be_written_is_a_storage_error(bundle, tmp_path):
    (tmp_path / "models").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_triton(bundle, tmp_path / "models")


def test_the_launch_command_of_isaac_ros_is_for_its_form_alone(bundle, tmp_path):
    assert isaac_ros_arguments(bundle, tmp_path / "models") == ""
    isaac = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **ISAAC), seed=1)
    command = isaac_ros_arguments(isaac, tmp_path / "models", name="seg")
    assert command.split() == [
        "ros2", "launch", "artoolkit_segmenter", "isaac.launch.py", f"bundle:={isaac.path}",
        f"model_repository:={tmp_path / 'models'}", "model_name:=seg",
    ]  # fmt: skip
