"""Rows are the fastest over the session options, each over the convolutions and the float total."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cpu_parts
import onnx
import pytest
from cpu_parts import CONVOLUTIONS, FLOAT, INT8, PROFILE
from deploy.tiny_network import Tiny, seeded_images, tiny_checkpoint

from artoolkit.networks import builder
from artoolkit.spec import SessionOptions

SIZE_HW = (40, 56)


def case(classes: int, convolutions: float, **seconds: float) -> dict[str, Any]:
    """Three rounds, one of them slowed down nine times by something else."""
    return {
        "classes": classes,
        "parts_ms": {CONVOLUTIONS: 100.0, "head": 12.0, "copies": 6.0},
        "seconds": {
            name: [value, 9 * value, value]
            for name, value in {**seconds, PROFILE: 1.0, CONVOLUTIONS: convolutions}.items()
        },
    }


def raw() -> dict[str, Any]:
    return {
        "labels": {"agreement_with_float": 0.99},
        "2 threads": case(11, 0.2, **{FLOAT: 0.25, INT8: 0.15}),
        "slower": case(11, 0.3, **{FLOAT: 0.2, INT8: 0.1}),
        "19": case(19, 0.1, **{FLOAT: 0.14, "fp32 dense": 0.21, "fp32 sparse": 0.1}),
    }


def test_the_options_with_the_fastest_convolutions_count() -> None:
    assert cpu_parts.fastest([raw()["slower"], raw()["2 threads"]]) == raw()["2 threads"]


def test_the_table_says_what_was_asked_and_leaves_out_a_head_that_is_gone() -> None:
    assert cpu_parts.table(raw()) == [
        f"| form | classes | total / convolutions | / {FLOAT} | requested |",
        "|---|---|---|---|---|",
        f"| {FLOAT} | 11 | 1.25 ± 0 % | 1.00 ± 0 % | 1.30 of the convolutions |",
        f"| {INT8} | 11 | 0.75 ± 0 % | 0.60 ± 0 % | 0.75 of fp32 |",
        "| fp32, sum of its operators | 11 | 1.18 |  |  |",
        f"| {FLOAT} | 19 | 1.40 ± 0 % | 1.00 ± 0 % | 1.30 of the convolutions |",
        "| fp32 dense | 19 | 2.10 ± 0 % | 1.50 ± 0 % |  |",
        "| fp32, sum of its operators | 19 | 1.18 |  |  |",
    ]


def test_all_cores_are_tried_with_spinning_and_without() -> None:
    both = list(cpu_parts.session_options(4).values())
    assert both == [SessionOptions(threads=4), SessionOptions(threads=4, spinning=False)]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> cpu_parts.Forms:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    folder = tmp_path_factory.mktemp("forms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builder.NETWORKS, "tiny", entry)
        return cpu_parts.write_forms(tiny_checkpoint(), SIZE_HW, folder, seeded_images(2, SIZE_HW))


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_every_form_is_what_its_name_says(forms: cpu_parts.Forms) -> None:
    found = {name: operators(path) for name, path in forms.paths.items()}
    assert found[FLOAT][-4:] == found[INT8][-4:] == ["Resize", "ArgMax", "Cast", "Cast"]
    assert "QuantizeLinear" in found[INT8] and "QuantizeLinear" not in found[FLOAT]
    assert forms.calibration is not None
    assert forms.calibration.sensitivity is not None


def test_all_forms_are_timed_in_the_same_rounds(forms: cpu_parts.Forms) -> None:
    images = seeded_images(2, SIZE_HW)
    values = cpu_parts.measured(forms, images, SessionOptions(threads=1), budget_s=0.0)
    rounds = {len(samples) for samples in values["seconds"].values()}
    assert len(rounds) == 1
    assert set(values["seconds"]) == {FLOAT, INT8, PROFILE, CONVOLUTIONS}
    assert {CONVOLUTIONS, "head"} < set(values["parts_ms"])
    assert values["settings"]["intra_op_threads"] == 1


def test_labels_of_int8_are_beside_those_of_float(forms: cpu_parts.Forms) -> None:
    values = cpu_parts.int8_labels(forms, seeded_images(2, SIZE_HW))
    assert 0.9 < values["agreement_with_float"] < 1
    assert values["int8_float_layers"][0] == "stem"
