"""Cost of the training loss beside plain cross-entropy, forwards and backwards.

    python benchmarks/loss_cost.py --machine x86-2core

Every time is a ratio to `torch.nn.functional.cross_entropy` on upsampled scores, measured just
before it in the same process; the ratio of a row is the median over repetitions. Memory is the peak
of the process above its level before, in score maps of B x C x H x W float32, the gradient of the
input included. Random scores at a quarter of the label's size and their upsampling; labels in
patches, a tenth of them void. Alternatives of other packages, where installed (`kornia`,
`rmi-pytorch`), are timed at the first shape only; with `--alternatives-only` beside the fused node
alone, into a result file of their own; so are with `--teacher-only` the terms that need a teacher,
beside AR over the same points (the teacher's scores are given: its own time is a network's).
`--shape 1x19x64x128 --repetitions 1` to try it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from loss_cost_table import table
from result_file import write_result
from rich.console import Console
from rich.progress import Progress
from side_by_side import torch_threads
from torch import Tensor

from artoolkit.losses import Objective, TeacherScores, WeightedTerm, affinity_regression

VOID = 255
STRIDE = 4
# The public packages that have one of the usual alternatives, and the modules that they install.
ALTERNATIVES = {"lovasz": "kornia", "rmi": "rmi-pytorch"}
MODULES = {"kornia": "kornia", "rmi-pytorch": "rmi"}
UNAVAILABLE = {
    "aaf": "no package was found for PyTorch: looked for 'adaptive affinity fields' in the names "
    "and descriptions of PyPI and in public code, where research repositories alone have it",
}
FUSED_LOW, FUSED_FULL = "fused, 1/4 scores", "fused, upsampled scores"


@dataclass(frozen=True)
class Scene:
    """Scores at a quarter of the label's size, the same upsampled, and labels."""

    low: Tensor
    full: Tensor
    labels: Tensor
    teacher: Tensor
    scattered: Tensor  # the labels with a tenth of all pixels void, anywhere

    @property
    def map_bytes(self) -> int:
        return self.full.numel() * self.full.element_size()


# Runs forwards and backwards, and returns the gradient of the scores.
Row = Callable[[Scene], Tensor | None]


def make_scene(shape: tuple[int, int, int, int], seed: int) -> Scene:
    batch, classes, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    low = 3 * torch.randn(batch, classes, height // 4, width // 4, generator=generator)
    ids = torch.randint(0, classes, (batch, 1, height // 16, width // 16), generator=generator)
    labels = F.interpolate(ids.float(), size=(height, width)).squeeze(1).long()
    labels[:, : height // 10] = VOID
    teacher = 3 * torch.randn(low.shape, generator=generator)
    lost = torch.rand(labels.shape, generator=generator) < 0.1
    return Scene(low, _upsampled(low, labels), labels, teacher, labels.masked_fill(lost, VOID))


def _upsampled(scores: Tensor, labels: Tensor) -> Tensor:
    size = (labels.shape[1], labels.shape[2])
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def cross_entropy(scene: Scene) -> Tensor | None:
    scores = scene.full.detach().requires_grad_()
    F.cross_entropy(scores, scene.labels, ignore_index=VOID).backward()
    return scores.grad


def upsampling_and_cross_entropy(scene: Scene) -> Tensor | None:
    scores = scene.low.detach().requires_grad_()
    full = _upsampled(scores, scene.labels)
    F.cross_entropy(full, scene.labels, ignore_index=VOID).backward()
    return scores.grad


def two_branches(size: str, **options: Any) -> Row:
    """Cross-entropy and AR side by side, as without the fused node."""

    def run(scene: Scene) -> Tensor | None:
        scores = getattr(scene, size).detach().requires_grad_()
        full = scores if size == "full" else _upsampled(scores, scene.labels)
        loss = F.cross_entropy(full, scene.labels, ignore_index=VOID)
        affinity = affinity_regression(scores, scene.labels, **options)
        (loss + 0.1 * affinity).backward()
        return scores.grad

    return run


def fused(size: str, **options: Any) -> Row:
    """The objective of artoolkit: cross-entropy and AR in one node."""
    terms = {
        "cross_entropy": WeightedTerm(kind="cross_entropy"),
        "affinity_regression": WeightedTerm(
            kind="affinity_regression", weight=0.1, options={"points": options}
        ),
    }
    objective = Objective(terms, align_corners=False)

    def run(scene: Scene) -> Tensor | None:
        scores = getattr(scene, size).detach().requires_grad_()
        objective.total(objective({"main": scores}, scene.labels)).backward()
        return scores.grad

    return run


def affinity(size: str, **options: Any) -> Row:
    """AR alone."""

    def run(scene: Scene) -> Tensor | None:
        scores = getattr(scene, size).detach().requires_grad_()
        affinity_regression(scores, scene.labels, **options).backward()
        return scores.grad

    return run


def taught(kind: str, labels: str = "labels", **options: Any) -> Row:
    """A term that needs a teacher, alone; for `kind` AR over the same points in its place."""
    if kind == "affinity_regression":
        options = {"points": {"grid": "all", **options}}
    objective = Objective({kind: WeightedTerm(kind=kind, options=options)}, align_corners=False)

    def run(scene: Scene) -> Tensor | None:
        scores = scene.low.detach().requires_grad_()
        teacher = TeacherScores(scene.teacher, align_corners=False)
        terms = objective({"main": scores}, getattr(scene, labels), teacher=teacher)
        objective.total(terms).backward()
        return scores.grad

    return run


def teacher_rows() -> dict[str, Row]:
    """The terms that need a teacher, each beside AR at the same points of the same labels."""
    return {
        "cross-entropy": cross_entropy,
        "AR": taught("affinity_regression", stride=STRIDE),
        "affinity distillation": taught("affinity_distillation", stride=STRIDE),
        "AR, void anywhere": taught("affinity_regression", "scattered", stride=STRIDE),
        "affinity distillation, void anywhere": taught(
            "affinity_distillation", "scattered", stride=STRIDE
        ),
        "affinity distillation, everywhere": taught(
            "affinity_distillation", stride=STRIDE, where="everywhere"
        ),
        "distillation": taught("distillation", stride=STRIDE),
    }


def lovasz(scene: Scene) -> Tensor | None:
    """Lovasz-softmax of kornia, which has no void: void pixels are given class 0."""
    from kornia.losses import lovasz_softmax_loss

    scores = scene.full.detach().requires_grad_()
    lovasz_softmax_loss(scores, scene.labels.masked_fill(scene.labels == VOID, 0)).backward()
    return scores.grad


def region_mutual_information(scene: Scene) -> Tensor | None:
    """RMI with its cross-entropy, of rmi-pytorch at its defaults: labels one-hot, void nowhere."""
    from rmi import RMILoss

    scores = scene.full.detach().requires_grad_()
    shown = scene.labels.masked_fill(scene.labels == VOID, 0)
    target = F.one_hot(shown, scores.shape[1]).permute(0, 3, 1, 2).to(scores.dtype)
    target *= (scene.labels != VOID).unsqueeze(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls what torch has renamed
        RMILoss(with_logits=True)(scores, target).backward()
    return scores.grad


def rows(installed: dict[str, str]) -> tuple[dict[str, Row], dict[str, Row]]:
    """By name: what is timed, and the alternatives, which take too long for large maps."""
    own: dict[str, Row] = {
        "cross-entropy": cross_entropy,
        FUSED_FULL: fused("full"),
        FUSED_LOW: fused("low"),
        "two branches, upsampled scores": two_branches("full"),
        "two branches, 1/4 scores": two_branches("low"),
        "upsampling and cross-entropy": upsampling_and_cross_entropy,
        "AR alone, four taps": affinity("low"),
        "AR alone, upsampled scores": affinity("full"),
        f"AR alone, all, stride {STRIDE}": affinity("low", grid="all", stride=STRIDE),
        "AR alone, all, stride 1": affinity("low", grid="all", stride=1),
        "fused, 1/4 scores, grid all": fused("low", grid="all", stride=STRIDE),
    }
    others: dict[str, tuple[str, Row]] = {
        "kornia": ("Lovasz (kornia)", lovasz),
        "rmi-pytorch": ("RMI (rmi-pytorch)", region_mutual_information),
    }
    return own, dict(found for package, found in others.items() if package in installed)


def timed(row: Row, scene: Scene) -> dict[str, float]:
    """Seconds on the clock and of the processor."""
    gc.collect()
    cpu, start = time.process_time(), time.perf_counter()
    row(scene)
    return {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}


def extra_maps(row: Row, scene: Scene) -> float | None:
    """Peak memory of one run above the level before, in score maps; None where it is not known."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    gc.collect()
    # Freed blocks that the allocator kept would hide what is allocated again.
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _status_bytes("VmRSS")
    row(scene)
    return (_status_bytes("VmHWM") - before) / scene.map_bytes


def _status_bytes(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, f"no {key} in /proc/self/status"
    return int(found[1]) * 1024


def measure(
    scene: Scene, chosen: dict[str, Row], repetitions: int, advance: Callable[[str], None]
) -> dict[str, Any]:
    """Each row right after a run of cross-entropy, all rows in turn, `repetitions` times."""
    memory = {}
    for name, row in chosen.items():
        advance(f"memory of {name}")
        row(scene)
        memory[name] = extra_maps(row, scene)
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for _ in range(repetitions):
        for name, row in chosen.items():
            advance(name)
            samples[name].append(
                {"cross_entropy": timed(cross_entropy, scene), "row": timed(row, scene)}
            )
    return {"extra_maps": memory, "samples": samples}


def parse_shape(text: str) -> tuple[int, int, int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)x(\d+)", text)
    if not found:
        raise click.BadParameter(f"got {text}; expected BxCxHxW, such as 2x19x1024x2048")
    batch, classes, height, width = map(int, found.groups())
    if height % 16 or width % 16 or not batch * classes * height * width:
        raise click.BadParameter(f"got {text}; height and width must be multiples of 16")
    return batch, classes, height, width


def alternatives() -> dict[str, str]:
    """Installed packages with an alternative loss, and their versions."""
    return {
        package: metadata.version(package)
        for package in ALTERNATIVES.values()
        if find_spec(MODULES[package]) is not None
    }


@click.command()
@click.option(
    "--machine", required=True, help="A kind of machine, such as x86-2core; no host name."
)
@click.option("--shape", "shapes", multiple=True, default=("1x19x256x512", "2x19x1024x2048"))
@click.option("--threads", "thread_counts", default="1,2", show_default=True)
@click.option("--repetitions", default=9, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--alternatives-only", is_flag=True, help="Packages' losses and the fused node.")
@click.option("--teacher-only", is_flag=True, help="The terms that need a teacher, beside AR.")
@click.option("--save/--no-save", default=True, help="Write the result file.")
def main(
    *,
    machine: str,
    shapes: tuple[str, ...],
    thread_counts: str,
    repetitions: int,
    seed: int,
    alternatives_only: bool,
    teacher_only: bool,
    save: bool,
) -> None:
    """Time and memory of the loss terms beside cross-entropy; see the top of this file."""
    installed = alternatives()
    own, others = rows(installed)
    if alternatives_only:
        shapes, own = shapes[:1], {name: own[name] for name in (FUSED_FULL, FUSED_LOW)}
    if teacher_only:
        own, others = teacher_rows(), {}
    counts = [int(count) for count in thread_counts.split(",")]
    settings: dict[str, Any] = {
        "shapes": list(shapes),
        "threads": counts,
        "repetitions": repetitions,
        "seed": seed,
        "dtype": "float32",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "alternatives": installed,
        "unavailable": UNAVAILABLE
        | {
            name: f"{package} is not installed"
            for name, package in ALTERNATIVES.items()
            if package not in installed
        },
        "load_average_before": os.getloadavg(),
    }
    runs = []
    with Progress(console=Console(stderr=True)) as progress:
        per_count = len(shapes) * len(own) + len(others)
        steps = len(counts) * per_count * (repetitions + 1)
        task = progress.add_task("", total=steps)

        def advance(name: str) -> None:
            progress.update(task, advance=1, description=name)

        for shape in shapes:
            chosen = own | (others if shape == shapes[0] else {})
            scene = make_scene(parse_shape(shape), seed)
            for count in counts:
                with torch_threads(count):
                    measured = measure(scene, chosen, repetitions, advance)
                runs.append({"shape": shape, "threads": count, **measured})
    settings["load_average_after"] = os.getloadavg()
    for line in table({"raw": {"runs": runs}}):
        click.echo(line)
    if save:
        suite = "loss-cost-peers" if alternatives_only else "loss-cost"
        suite = "loss-cost-teacher" if teacher_only else suite
        raw = {"runs": runs}
        path = write_result(suite, machine=machine, device="cpu", settings=settings, raw=raw)
        click.echo(f"written: {path.name}")


if __name__ == "__main__":
    main()
