"""Images as baseline and candidate see them, where they differ, and their affinity maps."""

from __future__ import annotations

import base64
import io
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artoolkit.data import spread
from artoolkit.evaluation.opening import predict
from artoolkit.evidence.bundle import Bundle
from artoolkit.graph.onnx_file import upsamples_with_corners
from artoolkit.labels import VOID, LabelTable
from artoolkit.losses.points import Points
from artoolkit.preprocess import fit_image
from artoolkit.report.affinity_maps import center_pixels, label_affinity, scores_at, sqrt_affinity
from artoolkit.report.content import AffinityRow, ClassShare, PageImage, SampleRow

if TYPE_CHECKING:
    from artoolkit.data import DataSet

Pixels = NDArray[np.uint8]

WIDTH = 360
GAIN, LOSS, OTHER = (0, 158, 115), (213, 94, 0), (240, 228, 66)


def page_image(
    pixels: Pixels, alt: str, *, photograph: bool = False, width: int = WIDTH
) -> PageImage:
    """A data URI no wider than `width` pixels: JPEG for photographs, PNG for label colors."""
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    small = (height, width) if pixels.shape[1] > width else pixels.shape[:2]
    shown = Image.fromarray(fit_image(pixels, (small[0], small[1])))
    buffer = io.BytesIO()
    kind = "jpeg" if photograph else "png"
    if not photograph:
        shown = shown.quantize(128)
    shown.save(buffer, kind, **({"quality": 80} if photograph else {"optimize": True}))
    return PageImage(
        uri=f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", alt=alt
    )


def difference(image: Pixels, before: Pixels, after: Pixels, truth: Pixels | None) -> Pixels:
    """The image in grey; where the two disagree: green gained, red lost, yellow neither right."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    shown: Pixels = np.repeat((grey // 2 + 96)[..., None], 3, axis=2).astype(np.uint8)
    apart = before != after
    if truth is None:
        shown[apart] = OTHER
        return shown
    apart &= truth != VOID
    shown[apart] = OTHER
    shown[apart & (after == truth)] = GAIN
    shown[apart & (before == truth)] = LOSS
    return shown


def _share(names: tuple[str, ...], labels: Pixels) -> str:
    """The three most frequent classes, for the words beside a picture."""
    counts = np.bincount(labels.ravel(), minlength=256)[: len(names)]
    total = max(1, int(counts.sum()))
    first = [index for index in np.argsort(-counts)[:3] if counts[index]]
    return ", ".join(f"{names[index]} {100 * counts[index] / total:.0f} %" for index in first)


def _classes(
    names: tuple[str, ...], truth: Pixels | None, before: Pixels, after: Pixels
) -> tuple[ClassShare, ...]:
    """Shares of every class that anybody sees, the largest of the baseline first."""

    def shares(labels: Pixels) -> NDArray[np.float64]:
        return 100 * np.bincount(labels.ravel(), minlength=256)[: len(names)] / labels.size

    one, other = shares(before), shares(after)
    true = None if truth is None else shares(truth)
    seen = one + other + (0 if true is None else true)
    return tuple(
        ClassShare(
            name=names[index],
            truth=None if true is None else float(true[index]),
            baseline=float(one[index]),
            candidate=float(other[index]),
        )
        for index in np.argsort(-one, kind="stable")
        if seen[index] > 0
    )


def _right(labels: Pixels, truth: Pixels) -> float:
    known = truth != VOID
    return 100 * float((labels[known] == truth[known]).mean()) if known.any() else 0.0


def _row(
    name: str, image: Pixels, before: Pixels, after: Pixels, truth: Pixels | None, table: LabelTable
) -> SampleRow:
    maps = {"ground truth": truth, "baseline": before, "candidate": after}
    pictures = {"image": page_image(image, f"The image {name}.", photograph=True)}
    for role, labels in maps.items():
        if labels is not None:
            alt = f"Segmentation by {role}: {_share(table.names, labels)}."
            pictures[role] = page_image(table.colorize(labels), alt)
    agreement = 100 * float((before == after).mean())
    words = f"Baseline and candidate agree on {agreement:.2f} % of the pixels."
    pictures["where they differ"] = page_image(difference(image, before, after, truth), words)
    return SampleRow(
        name=name,
        pictures=pictures,
        agreement_percent=agreement,
        right_percent=None if truth is None else (_right(before, truth), _right(after, truth)),
        classes=_classes(table.names, truth, before, after),
    )


def sample_rows(
    candidate: Bundle, baseline: Bundle, dataset: DataSet | None, split: str, count: int
) -> tuple[SampleRow, ...]:
    """`count` images spread over the split, or the golden ones without a data set."""
    table = candidate.manifest.labels
    if dataset is None:
        images = list(candidate.golden()["images"][:count])
        names = [f"golden image {index + 1}" for index in range(len(images))]
        truths: list[Pixels | None] = [None] * len(images)
    else:
        chosen = spread(dataset.samples(split), count)
        names = [sample.name for sample in chosen]
        images = [dataset.read_image(sample) for sample in chosen]
        truths = [dataset.read_label(sample) for sample in chosen]
    before, after = (list(predict(bundle, images)) for bundle in (baseline, candidate))
    return tuple(
        _row(*values, table) for values in zip(names, images, before, after, truths, strict=True)
    )


def heat_map(affinity_NN: NDArray[np.float64], alt: str) -> PageImage:
    """Red 1 to blue 0, void grey, one pixel a pair, enlarged twice."""
    value = np.nan_to_num(affinity_NN, nan=0.0)[..., None]
    red, white, blue = (
        np.array(c, np.float64) for c in ((178, 24, 43), (247,) * 3, (33, 102, 172))
    )
    warm = white + (red - white) * np.clip(2 * value - 1, 0, 1)
    cold = blue + (white - blue) * np.clip(2 * value, 0, 1)
    colors = np.where(value > 0.5, warm, cold)
    colors[np.isnan(affinity_NN)] = (128, 128, 128)
    enlarged = colors.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    return page_image(enlarged, alt)


def affinity_rows(
    candidate: Bundle, baseline: Bundle, dataset: DataSet, split: str, count: int
) -> tuple[AffinityRow, ...]:
    """Figure 4 on the first images of the split; needs ONNX Runtime and onnx."""
    points = Points(align_corners=upsamples_with_corners(candidate.model))
    rows = []
    for sample in dataset.samples(split)[:count]:
        labels, image = dataset.read_label(sample), dataset.read_image(sample)
        size = (labels.shape[0], labels.shape[1])
        pixels = center_pixels(size, points)
        maps = {"labels": label_affinity(labels, pixels)}
        for role, bundle in (("baseline", baseline), ("candidate", candidate)):
            scores = scores_at(_scores(bundle, image), pixels, size, points)
            maps[role] = sqrt_affinity(scores)
        rows.append(affinity_row(sample.name, maps))
    return tuple(rows)


def _scores(bundle: Bundle, image: Pixels) -> NDArray[np.float32]:
    """float32 C x h x w, the graph's low-resolution scores of one image."""
    from artoolkit.backends.onnxruntime.runner import open_onnxruntime

    target = bundle.manifest.target
    batch = np.repeat(fit_image(image, target.imgsz)[None], target.batch, axis=0)
    with closing(open_onnxruntime(bundle.model, outputs=("labels", "scores"))) as runner:
        scores: NDArray[np.float32] = runner.infer(batch)["scores"][0]
    return scores


def affinity_row(name: str, maps: dict[str, NDArray[np.float64]]) -> AffinityRow:
    """The maps `labels`, `baseline` and `candidate` (N x N each) as pictures and numbers."""
    truth = maps["labels"]
    networks = [role for role in maps if role != "labels"]
    losses = {role: float(np.nanmean((maps[role] - truth) ** 2)) for role in networks}
    words = {"labels": "Label affinity"} | {
        role: f"Square-root affinity of the {role}, mean squared error {losses[role]:.4f}"
        for role in networks
    }
    return AffinityRow(
        name=name,
        maps={
            role: heat_map(affinity, f"{words[role]}, of {len(truth)} points, red 1 to blue 0.")
            for role, affinity in maps.items()
        },
        losses=losses,
        same={role: _mean(affinity[truth == 1]) for role, affinity in maps.items()},
        other={role: _mean(affinity[truth == 0]) for role, affinity in maps.items()},
    )


def _mean(values: NDArray[np.float64]) -> float:
    """0 where no pair is of that kind."""
    return float(values.mean()) if values.size else 0.0
