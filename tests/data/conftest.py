"""Small data sets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write() -> Callable[..., Path]:
    """Write an array (or bytes, or text) to a path, folders included."""

    def write(path: Path, content: np.ndarray | bytes | str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            Image.fromarray(content).save(path)
        return path

    return write


@pytest.fixture
def image() -> np.ndarray:
    return np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
