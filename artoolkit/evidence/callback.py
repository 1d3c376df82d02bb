"""The protocol for whoever follows runs and verdicts, such as a tracker of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Verdict


class Callback:
    """Receives what a run and a verdict are; each method does nothing until it is overridden.

    `train` and `finetune` call `on_start` and `on_epoch`, `export` and `compare` call `on_verdict`;
    whoever made the callback closes it. Under torchrun only the first process calls.
    """

    def on_start(self, recipe: dict[str, Any]) -> None:
        """The effective recipe, nested as in its TOML file."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """`epoch`, `iteration` and where it was evaluated mIoU and IoU.<class> in percent."""

    def on_verdict(self, verdict: Verdict) -> None:
        """A verdict, once it is written."""

    def close(self) -> None:
        """The end, after an error too."""


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table with its paths as keys: {"optimizer.lr": 0.01}."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found
