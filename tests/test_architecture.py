"""The one-directional rule of the design, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from artoolkit.words import BACKENDS

PACKAGE = Path(__file__).parent.parent / "artoolkit"

# A module may import its own layer's package and everything in the layers before it.
LAYERS = (
    {
        "errors",
        "files",
        "optional",
        "spec",
        "labels",
        "preprocess",
        "metrics",
        "statistics",
        "wire",
        "commit",
        "fresh_process",
        "cores",
        "targets",
        "words",
        "_version",
    },
    {"evidence"},
    {"data"},
    {"graph"},
    {"networks", "losses"},
    {"backends"},
    {"deploy"},
    {"cost"},
    {"evaluation"},
    {"checks"},
    {"trackers"},
    {"exporting"},
    {"training"},
    {"report"},
    {"cli", "__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Vendor libraries, and the only folders that may name them.
VENDORS = {
    "tensorrt": "backends/tensorrt",
    "tensorrt_rtx": "backends/tensorrt",
    "pycuda": "backends/tensorrt",
    "cuda": "backends/tensorrt",
    "onnxruntime": "backends/onnxruntime",
    "openvino": "backends/openvino",
}
HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "cv2", "scipy", "matplotlib"}
# These run on a robot, where only the base dependencies are installed.
TORCH_FREE = {
    *LAYERS[0], "evidence", "data", "backends", "cost", "evaluation", "checks", "trackers", "cli",
    "report",
}  # fmt: skip


def _unit(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_top(tree: ast.Module) -> Iterator[str]:
    """Imports that run when the module is imported, TYPE_CHECKING blocks aside."""
    for node in tree.body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not guarded and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield from _imports(node)


def _trees() -> Iterator[tuple[Path, str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), _unit(path), ast.parse(path.read_text())


def test_imports_point_down() -> None:
    offenders = []
    for path, unit, tree in _trees():
        if unit == "__init__":
            offenders += [
                f"{path} imports {name} at its top"
                for name in _at_top(tree)
                if "artoolkit" in name and not name.startswith("artoolkit._version")
            ]
            continue
        assert unit in RANK, f"{unit} has no layer: add it to the design and to LAYERS"
        for name in _imports(tree):
            parts = name.split(".")
            if parts[0] != "artoolkit" or len(parts) < 2 or parts[1] not in RANK:
                continue
            if RANK[parts[1]] > RANK[unit]:
                offenders.append(f"{path} imports {name}, which stands above it")
            if {unit, parts[1]} == {"training", "backends"}:
                offenders.append(f"{path} imports {name}: training and backends never meet")
    assert not offenders, "\n".join(offenders)


def test_vendor_libraries_stay_in_the_folder_that_wraps_them() -> None:
    offenders = [
        f"{path} imports {name}, which belongs to artoolkit/{home}"
        for path, _, tree in _trees()
        for name in _imports(tree)
        if (home := VENDORS.get(name.split(".")[0])) and not path.as_posix().startswith(f"{home}/")
    ]
    assert not offenders, "\n".join(offenders)


def test_nobody_asks_for_a_backend_by_its_name() -> None:
    """What depends on the backend is asked of it, so that another one needs no other file."""
    offenders = [
        f"{path}:{compared.lineno} compares {ast.unparse(compared)}"
        for path, unit, tree in _trees()
        if unit != "backends"
        for compared in ast.walk(tree)
        if isinstance(compared, ast.Compare)
        and ast.unparse(compared.left).rpartition(".")[2] in ("backend", "library")
        and any(isinstance(c, ast.Constant) and c.value in BACKENDS for c in ast.walk(compared))
    ]
    assert not offenders, "\n".join(offenders)


def test_what_the_robot_imports_is_light_at_the_top() -> None:
    offenders = [
        f"{path} imports {name} at its top"
        for path, unit, tree in _trees()
        if unit in TORCH_FREE and path.parts[:2] != ("backends", "torch")
        for name in _at_top(tree)
        if name.split(".")[0] in HEAVY
    ]
    assert not offenders, "\n".join(offenders)
