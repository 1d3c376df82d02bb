"""A watcher that tells callbacks of a run, beside the one that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from artoolkit.evidence.callback import Callback
from artoolkit.training.engine import Row
from artoolkit.training.recipe import Recipe
from artoolkit.training.state import Progress
from artoolkit.training.watcher import Silent, Watcher


class Told:
    """Passes everything on to `watcher`, and what callbacks are for to them."""

    def __init__(self, watcher: Watcher | None, callbacks: Sequence[Callback]) -> None:
        self.watcher, self.callbacks = watcher or Silent(), callbacks

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: Progress) -> None:
        self.watcher.started(recipe, iterations_per_epoch, progress)
        for one in self.callbacks:
            one.on_start(recipe.model_dump(mode="json", exclude_none=True))

    def stepped(self, row: Row) -> None:
        self.watcher.stepped(row)

    def evaluated(self, row: Row) -> None:
        self.watcher.evaluated(row)
        for one in self.callbacks:
            one.on_epoch(row)
