"""Weights & Biases: the recipe as configuration, a row each epoch, the verdict in the summary.

Project, entity and mode are its own settings: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline.
"""

from __future__ import annotations

from typing import Any

from artoolkit.evidence.callback import Callback, flat
from artoolkit.evidence.verdict import Verdict
from artoolkit.optional import require


class Tracker(Callback):
    """One run of Weights & Biases."""

    def __init__(self) -> None:
        self._run: Any = require("wandb", "tracking with Weights & Biases").init()

    def on_start(self, recipe: dict[str, Any]) -> None:
        self._run.config.update(flat(recipe))

    def on_epoch(self, row: dict[str, Any]) -> None:
        self._run.log(row, step=row["epoch"])

    def on_verdict(self, verdict: Verdict) -> None:
        self._run.summary["artoolkit.result"] = verdict.result
        for check in verdict.checks:
            self._run.summary[f"artoolkit.{check.name}"] = f"{check.result}: {check.headline}"

    def close(self) -> None:
        self._run.finish()
