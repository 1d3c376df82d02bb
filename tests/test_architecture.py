"""The one-directional rule of the design, read from the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "artoolkit"

# A module may import its own layer's package and everything in the layers before it.
LAYERS = (
    {
        "errors",
        "optional",
        "spec",
        "labels",
        "preprocess",
        "metrics",
        "statistics",
        "wire",
        "commit",
        "cores",
        "targets",
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
    {"training"},
    {"report"},
    {"cli", "__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Vendor libraries, and the only modules that may name them.
VENDORS = {
    "tensorrt": "backends",
    "tensorrt_rtx": "backends",
    "pycuda": "backends",
    "cuda": "backends",
    "onnxruntime": "backends",
}
HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "cv2", "scipy", "matplotlib"}
# These run on a robot, where only the base dependencies are installed.
TORCH_FREE = {
    *LAYERS[0], "evidence", "data", "backends", "cost", "evaluation", "checks", "cli", "report"
}  # fmt: skip


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


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


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    unit = _unit(path)
    if unit == "__init__":
        assert not [name for name in _imports(ast.parse(path.read_text())) if "artoolkit" in name]
        return
    assert unit in RANK, f"{unit} has no layer: add it to the design and to LAYERS"
    for name in _imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "artoolkit" or len(parts) < 2 or parts[1] not in RANK:
            continue
        assert RANK[parts[1]] <= RANK[unit], f"{unit} imports {name}, which stands above it"
        assert {unit, parts[1]} != {"training", "backends"}, "training and backends never meet"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_vendor_libraries_stay_in_their_layer(path: Path) -> None:
    for name in _imports(ast.parse(path.read_text())):
        home = VENDORS.get(name.split(".")[0])
        assert home in (None, _unit(path)), f"{name} belongs to artoolkit.{home}"


@pytest.mark.parametrize(
    "path",
    [p for p in _modules() if _unit(p) in TORCH_FREE],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_what_the_robot_imports_is_light_at_the_top(path: Path) -> None:
    if path == PACKAGE / "backends" / "torch" / "runner.py":
        pytest.skip("this module wraps torch")
    roots = {name.split(".")[0] for name in _at_top(ast.parse(path.read_text()))}
    assert not roots & HEAVY, f"imported at the top: {sorted(roots & HEAVY)}"
