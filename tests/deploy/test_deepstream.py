"""nvinfer's configuration: keys that it knows, values of the bundle; the parser on a stub."""

from __future__ import annotations

import configparser
import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from crashing import every_crash
from engine_bundles import tiny_bundle, tiny_target
from sidecars import write_plan

from artoolkit.deploy.deepstream import CONFIG, write_deepstream
from artoolkit.errors import EngineError, StorageError, UsageError

FORM = {"layout": "nchw_float32", "labels_dtype": "int32"}
# The keys of [property] that we write, as DeepStream's guide (Gst-nvinfer) and its property parser
# list them, each with the values that they take there.
KNOWN = {
    "gpu-id": str.isdecimal,
    "gie-unique-id": str.isdecimal,
    "process-mode": {"1", "2"}.__contains__,
    "interval": str.isdecimal,
    "model-engine-file": str.strip,
    "batch-size": str.isdecimal,
    "infer-dims": lambda text: all(part.isdecimal() for part in text.split(";")),
    "model-color-format": {"0", "1", "2"}.__contains__,
    "net-scale-factor": float,
    "maintain-aspect-ratio": {"0", "1"}.__contains__,
    "network-mode": {"0", "1", "2"}.__contains__,
    "network-type": {"0", "1", "2", "3", "100"}.__contains__,
    "num-detected-classes": str.isdecimal,
    "segmentation-threshold": lambda text: float(text) >= 0,
    "output-blob-names": str.strip,
    "custom-lib-path": str.strip,
    "parse-segmentation-func-name": str.isidentifier,
}
compiler = shutil.which("c++") or shutil.which("g++")


def test_every_key_is_nvinfers_and_every_value_the_bundles(tmp_path):
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", precision="fp16", **FORM))
    plan = write_plan(bundle)
    config = write_deepstream(bundle, tmp_path / "out", plan=plan)
    parser = configparser.ConfigParser(delimiters="=", strict=True)
    parser.read_string(config.read_text())
    assert parser.sections() == ["property"]
    found = dict(parser["property"])
    assert set(found) == set(KNOWN)
    assert all(KNOWN[key](value) for key, value in found.items())
    wanted = {
        "infer-dims": "3;32;64", "batch-size": "1", "num-detected-classes": "4",
        "network-mode": "2", "net-scale-factor": "1.0", "output-blob-names": "labels",
        "model-engine-file": "./engine.plan",
    }  # fmt: skip
    assert wanted.items() <= found.items()
    assert (config.parent / "engine.plan").read_bytes() == plan.read_bytes()
    assert "road, wall, sky, pole" in config.read_text()
    assert (
        f"{found['parse-segmentation-func-name']}("
        in (config.parent / "parse_labels.cpp").read_text()
    )


@pytest.mark.parametrize(
    "change", [{"layout": "nhwc_uint8"}, {"labels_dtype": "uint8"}, {"output_size": (16, 32)}]
)
def test_another_form_is_refused(tmp_path, change):
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **{**FORM, **change}))
    with pytest.raises(UsageError, match="another form"):
        write_deepstream(bundle, tmp_path / "out", plan=write_plan(bundle))


def test_without_a_whole_engine_or_a_place_nothing_is_written(tmp_path):
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **FORM))
    for plan, message in ((None, "no engine"), (write_plan(bundle, plan_bytes=3), "was cut")):
        with pytest.raises(EngineError, match=message):
            write_deepstream(bundle, tmp_path / "out", plan=plan)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StorageError, match="cannot write"):
        write_deepstream(bundle, tmp_path / "out", plan=write_plan(bundle))
    assert (tmp_path / "out").read_text() == "mine"


def test_it_is_old_or_new_wherever_it_is_killed(tmp_path):
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **FORM))
    plan, out = write_plan(bundle), tmp_path / "out"
    found = set()

    def restore():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / CONFIG).write_text("old")

    for _ in every_crash(lambda: write_deepstream(bundle, out, plan=plan), restore):
        found.add(tuple(sorted(path.name for path in out.iterdir())))
    whole = ("README.md", "engine.plan", CONFIG, "parse_labels.cpp")
    assert found == {(CONFIG,), tuple(sorted(whole))}


@pytest.mark.skipif(compiler is None, reason="there is no C++ compiler")
def test_the_parser_hands_labels_on(tmp_path):
    """Compiled against a stub of nvdsinfer_custom_impl.h, and called."""
    root = Path(__file__).parents[2]
    (tmp_path / "call.cpp").write_text(
        f'#include "{root / "export/deepstream/parse_labels.cpp"}"\n'
        'extern "C" bool call(int* labels, int* map, unsigned width, int type,'
        " const char* name) {\n"
        "  NvDsInferLayerInfo layer{static_cast<NvDsInferDataType>(type), {2, {2, 3}, 6}, 0, name,"
        " labels, 0};\n"
        "  float unused = 0, *probabilities = &unused;\n"
        "  return ArtoolkitParseLabels({layer}, {width, 2, 3}, 0, 4, map, probabilities) &&"
        " probabilities == nullptr;\n}\n"
    )
    library = tmp_path / "call.so"
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    includes = ["-I", str(root / "tests" / "deploy" / "nvdsinfer_stub")]
    command = [str(compiler), *strict, *includes, str(tmp_path / "call.cpp"), "-o", str(library)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    call = ctypes.CDLL(str(library)).call
    call.restype = ctypes.c_bool
    labels, found = np.arange(6, dtype=np.int32), np.zeros(6, np.int32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (labels, found)]
    assert call(*pointers, 3, 3, b"labels") and np.array_equal(labels, found)
    assert not call(*pointers, 3, 0, b"labels")  # floats
    assert not call(*pointers, 4, 3, b"labels")  # another size
    assert not call(*pointers, 3, 3, b"scores")
