"""Where the small journey of this folder leaves things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Journey:
    """Where everything is that `artoolkit` made."""

    root: Path
    exit_code: int

    @property
    def data(self) -> tuple[str, ...]:
        return ("--dataset", "cityscapes", "--data-root", str(self.root / "data"))

    def checkpoint(self, name: str) -> str:
        return str(self.root / name / "model.safetensors")

    @property
    def bundle(self) -> Path:
        return self.root / "bundle"
