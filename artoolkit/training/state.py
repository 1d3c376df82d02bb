"""State that a run needs to resume exactly where it stopped, in one file written atomically.

There are no random states in it: every draw is a function of the seed and of where the run is
(`loader`, `step_seed`). The file holds tensors and plain values only, so that reading it runs no
code, and the sha256 of all its bytes as the comment of its archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from artoolkit.data import DataSet
from artoolkit.errors import TrainingError
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import reading
from artoolkit.labels import LabelTable
from artoolkit.networks.weight_files import read_torch
from artoolkit.preprocess import Preprocess
from artoolkit.training.assembly import data_fingerprints
from artoolkit.training.engine import Learner
from artoolkit.training.recipe import Recipe, recipe_from_values

FORMAT = 3
# The last two bytes of a zip archive are the length of its comment: 64 digits, and none by default.
_LENGTH, _DIGITS = b"\x40\0", 64
STATE = Path("state") / "last.pt"
# The checkpoint of the last finished epoch, beside it.
MODEL = "model.safetensors"
RESTART = "Start again with another --out."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """`epoch` epochs are finished, evaluated and saved, and `step` steps of the next are done."""

    epoch: int
    step: int
    metrics_bytes: int


@dataclass(frozen=True)
class SavedRun:
    """A run as it was saved: where it was, its recipe and provenance, and its tensors."""

    progress: Progress
    recipe: Recipe
    preprocess: Preprocess
    provenance: dict[str, Any]
    tensors: dict[str, Any]
    labels: LabelTable | None = None  # None: saved before this was kept

    def data_changes(self, dataset: DataSet) -> tuple[str, ...]:
        """Changes of images, labels and ids since the run began, one phrase each.

        Raises `TrainingError` where the classes are others: what was learned has no meaning there.
        """
        if self.provenance["dataset"] != dataset.name:
            raise TrainingError(
                "the run is on another data set",
                got=dataset.name,
                expected=self.provenance["dataset"],
            )
        phrases = []
        for role, now in data_fingerprints(self.recipe, dataset).items():
            before = self.provenance["data"][role]
            # A run of an older version recorded less.
            now = {key: value for key, value in now.items() if key in before}
            if now["images"] != before["images"]:
                phrases.append(f"{role} has {now['images']} images, had {before['images']}")
            elif now["sha256"] != before["sha256"]:
                phrases.append(f"{role} has other label files, or names")
            elif now != before:
                phrases.append(f"{role} has other image files")
        if self.labels is None:
            return tuple(phrases)
        if self.labels.names != dataset.labels.names:
            raise TrainingError(
                "the run has other classes",
                got=f"{dataset.labels.num_classes}: {', '.join(dataset.labels.names[:6])}",
                expected=f"{self.labels.num_classes}: {', '.join(self.labels.names[:6])}",
                hint="Classes are compared by name and order: start another run.",
            )
        for what, before_ids, ids in (
            ("ids of the classes", self.labels.file_ids, dataset.labels.file_ids),
            ("ids of void", self.labels.void_ids, dataset.labels.void_ids),
        ):
            if before_ids != ids:
                phrases.append(f"the {what} are {_some(ids)}, were {_some(before_ids)}")
        return tuple(phrases)

    def on_changed_data(self, dataset: DataSet) -> SavedRun:
        """The same run on what `dataset` is now; its provenance keeps what was, and until when."""
        before = {
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "data": self.provenance["data"],
        }
        changes = [*self.provenance.get("data_before", ()), before]
        data = data_fingerprints(self.recipe, dataset)
        return replace(self, provenance=self.provenance | {"data": data, "data_before": changes})

    def restore(self, learner: Learner) -> None:
        """Puts weights, momentum, scale and average back."""
        learner.network.load_state_dict(self.tensors["network"])
        learner.optimizer.load_state_dict(self.tensors["optimizer"])
        if learner.scaler.is_enabled():
            learner.scaler.load_state_dict(self.tensors["scaler"])
        if learner.average is not None:
            learner.average.network.load_state_dict(self.tensors["average"])
            learner.average.updates = self.tensors["average_updates"]


def _some(ids: tuple[int, ...], most: int = 8) -> str:
    return ", ".join(map(str, ids[:most])) + (" ..." if len(ids) > most else "")


def save_state(
    out: Path,
    learner: Learner,
    progress: Progress,
    labels: LabelTable,
    provenance: dict[str, Any],
) -> None:
    """Replaces `out`/state/last.pt; `StorageError` where the disk is full, the old file kept."""
    average = learner.average
    content = io.BytesIO()
    torch.save(
        {
            "format": FORMAT,
            "epoch": progress.epoch,
            "step": progress.step,
            "metrics_bytes": progress.metrics_bytes,
            "recipe": learner.recipe.model_dump_json(),
            "preprocess": learner.network.preprocess.model_dump_json(),
            "provenance": json.dumps(provenance),
            "labels": labels.model_dump_json(),
            "network": learner.network.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "average": average.network.state_dict() if average else None,
            "average_updates": average.updates if average else 0,
        },
        content,
    )
    whole = content.getvalue()[: -len(_LENGTH)]
    write_atomically(out / STATE, whole + _LENGTH + _digest(whole))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _is_whole(path: Path) -> bool | None:
    """True if the checksum of the file is that of its bytes, None where it has none."""
    content = path.read_bytes()
    whole, told = content[: -_DIGITS - len(_LENGTH)], content[-_DIGITS - len(_LENGTH) :]
    if not told.startswith(_LENGTH):
        return None
    return told[len(_LENGTH) :] == _digest(whole)


def require_state(out: Path) -> Path:
    """The file of the saved state in `out`; `TrainingError` where there is none."""
    path = out / STATE
    if path.is_file():
        return path
    if not out.exists():
        raise TrainingError(
            f"no run to resume: {out} does not exist",
            hint="Check --out, or start the run without --resume.",
        )
    if (out / "recipe.toml").is_file():
        raise TrainingError(
            f"the run in {out} ended before it was saved for the first time",
            hint="Nothing is lost: start it again without --resume.",
        )
    raise TrainingError(
        f"no run to resume in {out}",
        expected=f"the file {STATE}",
        hint="--out is the folder of the run, the one that model.safetensors is written to.",
    )


def read_state(out: Path) -> SavedRun:
    """The run saved in `out`; `TrainingError` where there is none, or it cannot be read."""
    path = require_state(out)
    with reading(path, TrainingError, hint=RESTART):
        whole = _is_whole(path)
    saved = read_torch(path, TrainingError, hint=RESTART) if whole is not False else {}
    with reading(path, TrainingError, hint=RESTART):
        version = saved.get("format", FORMAT)
        if version == 1:  # the same but for one name
            saved |= {"optimizer": saved["optimiser"]}
        if version < FORMAT:
            log.warning(
                "%s has no checksum (an earlier artoolkit wrote it): damage is not found", path
            )
        elif version > FORMAT:
            raise TrainingError(
                f"{path} was written by another version", got=version, expected=FORMAT
            )
        elif not whole:
            raise TrainingError(
                f"{path} changed after it was written: the checksum does not match", hint=RESTART
            )
        recipe = recipe_from_values(json.loads(saved["recipe"]), f"the recipe in {path}")
        done = [int(saved[name]) for name in ("epoch", "step", "metrics_bytes")]
        if min(done) < 0:
            raise ValueError(f"its progress is {done}")
        return SavedRun(
            progress=Progress(*done),
            recipe=recipe,
            preprocess=Preprocess.model_validate_json(saved["preprocess"]),
            provenance=json.loads(saved["provenance"]),
            tensors=saved,
            labels=LabelTable.model_validate_json(saved["labels"]) if "labels" in saved else None,
        )
