"""NVIDIA's Python bindings without NVIDIA's libraries: what names does each TensorRT have?

The bindings' wheels (1 MB) are on PyPI, the libraries (GBs) need a GPU to be of use. Linked against
empty libraries the bindings import, and every class, method and enumeration can be listed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

Names = dict[str, dict[str, str]]

LIST_NAMES = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
module = importlib.import_module(sys.argv[1])
def members(thing):
    if not isinstance(thing, type):
        return {}
    return {n: (getattr(thing, n).__doc__ or "").split("\\n")[0] for n in dir(thing)}
print(json.dumps({name: members(getattr(module, name)) for name in dir(module)}))
"""


class NotFetched(Exception):
    """The wheel could not be downloaded, or no C compiler is there."""


def names_of_wheel(package: str, version: str, cache: Path) -> Names:
    """Class -> member -> first line of its documentation, of one version of the bindings."""
    folder = cache / f"{package}-{version}-{sys.version_info.major}{sys.version_info.minor}"
    if not folder.is_dir():
        _unpack(_download(package, version, cache), folder)
    library = next(folder.glob("tensorrt_bindings/*.so"))
    stubs = _stub_libraries(library, folder / "stubs")
    return _listed("tensorrt_bindings", folder, {**os.environ, "LD_LIBRARY_PATH": str(stubs)})


def names_of_module(module: str) -> Names:
    """The same of a library that is installed."""
    return _listed(module, None, dict(os.environ))


def _listed(module: str, folder: Path | None, environment: dict[str, str]) -> Names:
    paths = [str(folder)] if folder else []
    ran = subprocess.run(
        [sys.executable, "-c", LIST_NAMES, module, *paths],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    names: Names = json.loads(ran.stdout)
    return names


def _download(package: str, version: str, cache: Path) -> Path:
    folder = cache / "wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    ran = subprocess.run(
        [*pip, "--dest", str(folder), f"{package}=={version}"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    found = sorted(folder.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    if ran.returncode or not found:
        last = ran.stderr.strip().splitlines()[-1:] or ["no wheel"]
        raise NotFetched(f"pip cannot fetch {package}=={version}: {last[0]}")
    return found[0]


def _unpack(wheel: Path, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial)
    partial.rename(folder)


def _stub_libraries(library: Path, folder: Path) -> Path:
    """Empty shared libraries with the names and symbols that the bindings want of NVIDIA's."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotFetched("there is no C compiler to build the stub libraries with")
    content = library.read_bytes()
    wanted = sorted(set(re.findall(rb"libnv[a-z_]+\.so\.\d+", content)))
    symbols = set(re.findall(rb"\0((?:create|get|init)\w*(?:Infer|Nv|Plugin)\w*)(?=\0)", content))
    code = "".join(f"void {name.decode()}(void) {{}}\n" for name in sorted(symbols))
    if folder.is_dir():
        return folder
    partial = folder.with_name("stubs.partial")
    partial.mkdir(exist_ok=True)
    for index, name in enumerate(map(bytes.decode, wanted)):
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{name}", "-o",
             str(partial / name)],
            input="" if index else code, text=True, check=True,
        )  # fmt: skip
    return partial.rename(folder)
