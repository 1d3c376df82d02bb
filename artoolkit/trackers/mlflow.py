"""MLflow: parameters, a metric each epoch, the verdict as tags and as an artifact.

Where it goes is MLflow's own setting: MLFLOW_TRACKING_URI, by default the folder `mlruns`.
"""

from __future__ import annotations

from typing import Any

from artoolkit.evidence.callback import Callback, flat
from artoolkit.evidence.verdict import Verdict
from artoolkit.optional import require


class Tracker(Callback):
    """One run of MLflow, or the one that is active already."""

    def __init__(self) -> None:
        self._mlflow: Any = require("mlflow", "tracking with MLflow")
        self._owned = self._mlflow.active_run() is None
        if self._owned:
            self._mlflow.start_run()

    def on_start(self, recipe: dict[str, Any]) -> None:
        self._mlflow.log_params(flat(recipe))

    def on_epoch(self, row: dict[str, Any]) -> None:
        numbers = {name: value for name, value in row.items() if isinstance(value, (int, float))}
        self._mlflow.log_metrics(numbers, step=row["epoch"])

    def on_verdict(self, verdict: Verdict) -> None:
        tags = {f"artoolkit.{check.name}": check.result for check in verdict.checks}
        self._mlflow.set_tags({"artoolkit.result": verdict.result, **tags})
        self._mlflow.log_dict(verdict.model_dump(mode="json"), "verdict.json")

    def close(self) -> None:
        if self._owned:
            self._mlflow.end_run()
