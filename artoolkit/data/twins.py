"""One image in two splits: what is judged on was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from PIL import Image

from artoolkit.data.dataset import Sample
from artoolkit.data.image_files import read_rgb
from artoolkit.data.listing import counted, readable
from artoolkit.evidence.seal import file_sha256

# Grey 16 x 16 thumbnails of 200 CamVid images: an image and its JPEG of quality 40 differ by up to
# 0.6 of 255 levels in the mean, two neighboring frames by at least 1.9.
_SAME_LEVELS = 1.2
# More images of equal labels than this are not copies: their labels are alike for another reason.
_MOST_ALIKE = 16

Member = tuple[str, Sample]  # split, sample


def shared_images(
    splits: Mapping[str, Sequence[tuple[Sample, int]]],
) -> dict[str, tuple[str, ...]]:
    """Warnings by split about images that stand in an earlier split as well.

    Files of equal bytes, and images that look alike and have labels that are equal in every pixel:
    the number beside a sample is its label's digest, 0 where that says nothing.
    """
    members = [(split, sample) for split, found in splits.items() for sample, _ in found]
    digests = {sample: digest for found in splits.values() for sample, digest in found}
    twins: dict[tuple[str, str], dict[Sample, Sample]] = defaultdict(dict)
    for one, other in (*_same_bytes(members), *_same_looks(members, digests)):
        twins[other[0], one[0]].setdefault(other[1], one[1])
    warnings: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for (split, earlier), pairs in twins.items():
        sample, copy = next(iter(pairs.items()))
        text = (
            f"{counted(len(pairs), 'image')} of {split} in {earlier} as well, for example "
            f"{readable(sample.image)} and {readable(copy.image)}"
        )
        warnings[split] += (text,)
    return warnings


def _across(groups: Iterable[Sequence[Member]]) -> Iterator[Sequence[Member]]:
    return (group for group in groups if len({split for split, _ in group}) > 1)


def _same_bytes(members: Sequence[Member]) -> Iterator[tuple[Member, Member]]:
    sizes: dict[int, list[Member]] = defaultdict(list)
    for member in members:
        sizes[member[1].image.stat().st_size].append(member)
    contents: dict[str, list[Member]] = defaultdict(list)
    for group in _across(sizes.values()):
        for member in group:
            contents[file_sha256(member[1].image)].append(member)
    for first, *others in _across(contents.values()):
        yield from ((first, other) for other in others if other[0] != first[0])


def _same_looks(
    members: Sequence[Member], digests: Mapping[Sample, int]
) -> Iterator[tuple[Member, Member]]:
    alike: dict[int, list[Member]] = defaultdict(list)
    for member in members:
        if digests[member[1]]:
            alike[digests[member[1]]].append(member)
    for group in _across(alike.values()):
        if len(group) > _MOST_ALIKE:
            continue
        thumbnails = [
            np.asarray(Image.fromarray(read_rgb(one.image)).convert("L").resize((16, 16)), float)
            for _, one in group
        ]
        for (first, a), (other, b) in combinations(zip(group, thumbnails, strict=True), 2):
            if first[0] != other[0] and np.abs(a - b).mean() < _SAME_LEVELS:
                yield first, other
