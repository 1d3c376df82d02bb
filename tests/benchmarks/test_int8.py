"""The int8 benchmark on a tiny pair: every form is evaluated, and int8 is decided once."""

from __future__ import annotations

from pathlib import Path

import int8
import numpy as np
import pytest
from deploy.tiny_network import CLASSES, Tiny, seeded_images, tiny_checkpoint

from artoolkit.data import Sample
from artoolkit.deploy.untrained import numbered_classes
from artoolkit.networks import builder
from artoolkit.networks.checkpoint import write_checkpoint

IMGSZ = (40, 56)


class Noise:
    """Three pictures a split with labels that no network knows."""

    name, root, labels = "noise", Path(), numbered_classes(CLASSES)

    def splits(self) -> tuple[str, ...]:
        return ("train", "val")

    def samples(self, split: str) -> tuple[Sample, ...]:
        return tuple(Sample(f"{split}{i}", Path(), Path()) for i in range(3))

    def read_image(self, sample: Sample) -> np.ndarray:
        return seeded_images(3)[int(sample.name[-1])]

    def read_label(self, sample: Sample) -> np.ndarray:
        return np.random.default_rng(int(sample.name[-1])).integers(0, CLASSES, IMGSZ, np.uint8)

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    monkeypatch.setitem(builder.NETWORKS, "tiny", entry)
    paths = [(role, tmp_path / f"{role}.safetensors") for role in ("baseline", "candidate")]
    for seed, (_, path) in enumerate(paths):
        write_checkpoint(path, tiny_checkpoint(seed))
    return paths


@pytest.mark.slow
def test_every_form_of_both_is_evaluated_and_int8_decided_on_the_baseline(
    pair: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[str] = []
    real = int8.calibrate

    def calibrate(checkpoint, target, images, **options):
        calibrated.append(target.name)
        return real(checkpoint, target, images, **options)

    monkeypatch.setattr(int8, "calibrate", calibrate)
    raw = int8.measure(pair, int8.read_images(Noise(), IMGSZ, 2), IMGSZ, lambda *_: None)
    assert calibrated == ["int8 u8", "int8 s8"]
    for found in raw.values():
        assert set(found["forms"]) - {int8.NNCF} == {*int8.FORMS, *int8.OPENVINO} - {int8.NNCF}
        assert found["forms"]["fp32"]["difference_points"]["estimate"] == 0
        assert abs(found["forms"]["int8 u8"]["difference_points"]["estimate"]) < 20
        errors = {form: layers[0]["relative"] for form, layers in
                  found["largest_layer_errors"].items()}  # fmt: skip
        assert 0 < errors["fp16"] < errors["int8 s8"]
        assert found["float_layers"] == raw["baseline"]["float_layers"]
        assert found["float_layers"]["int8 u8"]["layers"][0] == "stem"
        assert found["float_layers"]["int8 s8"]["sensitivity"]["images"] == 2
    assert raw["baseline"]["checkpoint_sha256"] != raw["candidate"]["checkpoint_sha256"]
    assert len(int8.table(raw)) == 4


def test_the_table_says_how_far_each_form_lies_from_float32() -> None:
    def form(miou: float) -> dict:
        return {"metrics": {"mIoU": miou}, "difference_points": {"estimate": miou - 51.82}}

    forms = {"fp32": form(51.82), "fp16": form(51.81), "int8 u8": form(51.7), "int8 s8": form(52)}
    head, _, row = int8.table({"baseline": {"forms": forms}})
    assert head == "| checkpoint | fp32 | fp16 | int8 u8 | int8 s8 |"
    assert row == "| baseline | 51.82 | 51.81 (-0.01) | 51.70 (-0.12) | 52.00 (+0.18) |"


def test_calibration_images_are_spread_over_the_split() -> None:
    found = int8.read_images(Noise(), IMGSZ, 2)
    assert found.calibration.shape == (2, *IMGSZ, 3) and found.layers.shape == (1, *IMGSZ, 3)
