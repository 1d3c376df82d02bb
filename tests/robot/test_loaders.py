"""The loaders without artoolkit: C++ compiled against stubs and CUDA's own headers, and Python."""

from __future__ import annotations

import io
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeCuda, FakeTensorrt

HERE = Path(__file__).parent
ROBOT = HERE.parents[1] / "export" / "robot"
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
CUDA_HEADERS = ("nvidia-cuda-runtime==13.5.37", "nvidia-cuda-crt==13.5.37")
compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
compiled = pytest.mark.skipif(compiler is None, reason="there is no C++ compiler")


def compile_loader(*more: str | Path, headers: Path) -> subprocess.CompletedProcess[str]:
    command = [
        compiler, *STRICT, "-isystem", headers, "-isystem", HERE / "nvinfer_stub",
        ROBOT / "cpp" / "label_images.cpp", *more,
    ]  # fmt: skip
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@compiled
def test_the_loader_in_cpp_labels_images_and_says_in_one_line_what_is_wrong(tmp_path):
    program, plan = tmp_path / "label_images", tmp_path / "a.plan"
    built = compile_loader("-o", program, headers=HERE / "cuda_stub")
    assert built.returncode == 0, built.stderr
    plan.write_bytes(b"plan and more")
    frames = images(3, 4, 6, 3)

    def run(*words: object) -> subprocess.CompletedProcess[bytes]:
        command = [str(program), *map(str, words)]
        return subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)

    ran = run(plan)
    assert (ran.returncode, ran.stderr) == (0, b"")
    labels = np.frombuffer(ran.stdout, np.uint8).reshape(3, 4, 6)
    assert np.array_equal(labels, frames[..., 0] % 4)
    plan.write_bytes(b"something else")
    wrong = run(plan)
    assert wrong.returncode == 1 and wrong.stderr.startswith(b"magic tag does not match\nerror: ")
    assert b"build it here" in wrong.stderr
    missing = run(tmp_path / "none.plan")
    assert missing.returncode == 1 and b"cannot read" in missing.stderr
    assert run().returncode == 2


@compiled
@pytest.mark.slow
def test_the_loader_in_cpp_compiles_against_cudas_own_headers(request):
    folder = Path(request.config.cache.mkdir("cuda-headers"))
    if not list(folder.rglob("cuda_runtime_api.h")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
        subprocess.run([*pip, *CUDA_HEADERS], check=False, capture_output=True, timeout=300)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) < len(CUDA_HEADERS):
            pytest.skip(f"pip cannot fetch {' and '.join(CUDA_HEADERS)}")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [n for n in archive.namelist() if "/include/" in n])
            wheel.unlink()
    headers = next(folder.rglob("cuda_runtime_api.h")).parent
    built = compile_loader("-fsyntax-only", headers=headers)
    assert built.returncode == 0, built.stderr


@compiled
@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no CMake")
def test_cmake_builds_the_loader(tmp_path):
    """Against the stubs, and a module that stands for CUDA's toolkit, which asks for nvcc."""
    (tmp_path / "FindCUDAToolkit.cmake").write_text(
        f"add_library(CUDA::cudart INTERFACE IMPORTED)\n"
        f"target_include_directories(CUDA::cudart INTERFACE {HERE / 'cuda_stub'})\n"
    )
    tensorrt = tmp_path / "tensorrt"
    shutil.copytree(HERE / "nvinfer_stub", tensorrt / "include")
    (tensorrt / "lib").mkdir()
    library = ["-shared", "-x", "c++", "/dev/null", "-o", str(tensorrt / "lib" / "libnvinfer.so")]
    subprocess.run([str(compiler), *library], check=True)
    configure = [
        "cmake", "-S", ROBOT / "cpp", "-B", tmp_path / "build", f"-DTENSORRT={tensorrt}",
        f"-DCMAKE_MODULE_PATH={tmp_path}",
    ]  # fmt: skip
    for command in (configure, ["cmake", "--build", tmp_path / "build"]):
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "build" / "label_images").is_file()


def test_the_loader_in_python_labels_images(monkeypatch, tmp_path):
    cuda = FakeCuda()
    trt: Any = FakeTensorrt(cuda)
    trt.Logger = lambda level: None
    trt.Logger.WARNING = 2
    trt.nptype = {trt.DataType.UINT8: np.uint8}.__getitem__
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = cuda
    for name, module in {
        "tensorrt": trt, "cuda": ModuleType("cuda"), "cuda.bindings": bindings,
        "cuda.bindings.runtime": cuda,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "a.plan").write_bytes(b"plan")
    frames, out = images(2, 32, 64, 3), io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["load_engine.py", str(tmp_path / "a.plan")])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(frames.tobytes())))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    runpy.run_path(str(ROBOT / "load_engine.py"))
    labels = np.frombuffer(out.getvalue(), np.uint8).reshape(2, 32, 64)
    assert np.array_equal(labels, frames[..., 0] % 4)
