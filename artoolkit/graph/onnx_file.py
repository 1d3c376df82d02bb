"""Reading an ONNX file, with its failures in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from artoolkit.errors import ExportError
from artoolkit.optional import require

if TYPE_CHECKING:
    import onnx


def load_onnx(path: Path, purpose: str) -> onnx.ModelProto:
    """The ONNX model in `path`; `ExportError` if it is none, `MissingLibraryError` without onnx."""
    library = require("onnx", purpose)
    try:
        model: onnx.ModelProto = library.load(str(path))
    except Exception as error:  # protobuf raises classes of its own, which move between versions
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExportError(f"{path} is not an ONNX file that can be read", got=what) from error
    return model


def upsamples_with_corners(path: Path) -> bool:
    """Whether the Resize that reads `scores` in an exported graph aligns the corners."""
    for node in load_onnx(path, "the scores of a graph").graph.node:
        if node.op_type == "Resize" and "scores" in node.input[0]:
            return any(a.s == b"align_corners" for a in node.attribute)
    return False
