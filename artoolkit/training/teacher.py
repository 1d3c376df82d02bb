"""A teacher: trained networks whose scores another one learns from, never part of its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from artoolkit.deploy.graph import Deployed, upsampled
from artoolkit.errors import CheckpointError, RecipeError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.labels import LabelTable
from artoolkit.losses import TeacherScores
from artoolkit.losses.precision import accumulation_dtype
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.networks.loading import load
from artoolkit.training.recipe import Recipe
from artoolkit.words import TAUGHT


def load_teacher(source: Checkpoint | Path | str, labels: LabelTable) -> Checkpoint:
    """A checkpoint, or NETWORK=FILE for weights of others or for code of one's own.

    Raises `CheckpointError` where it was trained for other classes than `labels`.
    """
    network = None
    if isinstance(source, str) and "=" in source and not Path(source).exists():
        network, source = source.split("=", 1)
    teacher = load(source, network=network, labels=labels)
    if teacher.meta.labels.names != labels.names:
        raise CheckpointError(
            f"the teacher {teacher.path or ''} was trained for other classes",
            got=f"{teacher.meta.num_classes}: {', '.join(teacher.meta.labels.names[:4])} ...",
            expected=f"{labels.num_classes} of {labels.name}: {', '.join(labels.names[:4])} ...",
        )
    return teacher


def is_taught(recipe: Recipe) -> bool:
    """True if a term of the recipe needs a teacher."""
    return any(
        (choice.kind or name) in TAUGHT and (choice.weight != 0 or bool(choice.monitor))
        for name, choice in recipe.loss.terms.items()
    )


def identities(teachers: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """What a run records of its teachers, and has to find again when it goes on."""
    return [
        {
            "network": teacher.meta.network,
            "sha256": file_sha256(teacher.path) if teacher.path else None,
        }
        for teacher in teachers
    ]


def check_same(teachers: Sequence[Checkpoint], recorded: Sequence[dict[str, Any]]) -> None:
    """`UsageError` unless a run that goes on has the teachers that it began with."""
    if identities(teachers) != list(recorded):
        raise UsageError(
            "the run has other teachers",
            got=", ".join(str(t.path) for t in teachers) or "none",
            expected=", ".join(f"{t['network']} {str(t['sha256'])[:12]}" for t in recorded),
            hint="Repeat its --teacher options.",
        )


class Teacher(nn.Module):
    """uint8 images B x H x W x 3 -> scores without a gradient, of one network or averaged."""

    def __init__(self, checkpoints: Sequence[Checkpoint], recipe: Recipe) -> None:
        super().__init__()
        networks = [checkpoint.network() for checkpoint in checkpoints]
        for network in networks:
            least, crop = network.minimum_hw, recipe.augmentation.crop
            if crop[0] < least[0] or crop[1] < least[1]:
                raise RecipeError(
                    f"augmentation.crop is too small for the teacher {network.name}",
                    got="{} x {}".format(*crop),
                    expected="at least {} x {}".format(*least),
                )
        self.aligned = [network.align_corners for network in networks]
        self.members = nn.ModuleList(Deployed(n, n.preprocess) for n in networks)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> TeacherScores:
        """Of several, the log of their mean probabilities, at the size of the finest map."""
        found = [
            TeacherScores(cast(Deployed, member).scores(images).contiguous(), aligned)
            for member, aligned in zip(self.members, self.aligned, strict=True)
        ]
        finest = max(found, key=lambda one: one.scores.shape[2])
        if len(found) == 1:
            return finest
        size = (finest.scores.shape[2], finest.scores.shape[3])
        mean = torch.zeros_like(finest.scores, dtype=accumulation_dtype(finest.scores.dtype))
        for one in found:
            scores = one.scores.to(mean.dtype)
            mean += upsampled(scores, size, align_corners=one.align_corners).softmax(1)
        # No probability is 0 in what follows.
        mean = (mean / len(found)).clamp_(min=torch.finfo(mean.dtype).tiny)
        return TeacherScores(mean.log_(), finest.align_corners)
