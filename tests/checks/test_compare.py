"""The whole comparison on two tiny bundles: every check, what fails it, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from judged import QUICK, Scenes, without_rtx
from tiny import HEIGHT, WIDTH, tiny_bundle

from artoolkit.checks.compare import compare, judged
from artoolkit.checks.contest import Pair, check_same_kind
from artoolkit.checks.kind import Records, Terms
from artoolkit.checks.outputs import OUTPUTS, OutputsMeasurement
from artoolkit.cost.latency_record import LatencyMeasurement
from artoolkit.errors import BundleError, RecipeError, UsageError
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Check, Verdict


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_rtx(monkeypatch)


def verdict_of(candidate: Bundle, baseline: Bundle, **more: object) -> tuple[Verdict, Records]:
    return judged(Pair.of(baseline, candidate, plan=QUICK, process_memory=False, **more))


def by_name(verdict: Verdict) -> dict[str, Check]:
    return {check.name: check for check in verdict.checks}


def test_another_checkpoint_of_the_same_network(baseline: Bundle, candidate: Bundle) -> None:
    heard: list[str] = []
    verdict, records = verdict_of(
        candidate, baseline, dataset=Scenes(), progress=lambda what, _: heard.append(what)
    )
    checks = by_name(verdict)
    order = [
        "graph", "training-only parts", "program", "program (TensorRT-RTX)", "memory", "latency",
        "outputs", "accuracy",
    ]  # fmt: skip
    assert list(checks) == order
    for name in ("graph", "training-only parts", "program", "memory", "outputs"):
        assert checks[name].result == "PASS", checks[name]
    assert checks["latency"].result != "UNAVAILABLE"
    assert checks["accuracy"].numbers["images"] == 10
    assert [name for name, check in checks.items() if not check.required] == [
        "program (TensorRT-RTX)"
    ]
    assert set(records) == {
        "graph.json", "parts.json", "program.json", "program-tensorrt-rtx.json",
        "memory-baseline.json", "memory-candidate.json", "latency.json", "outputs.json",
        "quality-baseline.json", "quality-candidate.json",
    }  # fmt: skip
    assert all(record.subjects for record in records.values())
    assert {"graph", "mIoU of the candidate"} <= set(heard)
    assert verdict.candidate.sha256 == candidate.manifest.sha256


@pytest.mark.parametrize(
    ("layout", "labels_dtype"), [("nchw_float32", "uint8"), ("nhwc_uint8", "int32"),
                                 ("nchw_float32", "int32")],
)  # fmt: skip
def test_every_check_passes_for_each_form_of_input_and_output(
    tmp_path: Path, layout: str, labels_dtype: str
) -> None:
    form = {"layout": layout, "labels_dtype": labels_dtype}
    bundles = [tiny_bundle(tmp_path / f"b{seed}", seed=seed, **form) for seed in (0, 1)]
    verdict, _ = verdict_of(bundles[1], bundles[0], dataset=Scenes())
    results = {name: check.result for name, check in by_name(verdict).items()}
    assert results.pop("latency") in ("PASS", "UNDECIDED")  # of a busy machine
    assert results.pop("accuracy") in ("PASS", "FAIL")  # of random weights
    assert {name for name, result in results.items() if result != "PASS"} <= {
        "program (TensorRT-RTX)"
    }
    plain = tiny_bundle(tmp_path / "plain", seed=1)
    assert np.array_equal(plain.golden()["labels"], bundles[1].golden()["labels"])
    taken = np.dtype("float32" if layout == "nchw_float32" else "uint8").itemsize
    given = np.dtype(labels_dtype).itemsize
    memory = by_name(verdict)["memory"].numbers["baseline"]["components"]
    assert memory["io_bytes"] == HEIGHT * WIDTH * (3 * taken + given)
    with pytest.raises(BundleError, match="different targets"):
        check_same_kind(bundles[1].manifest, plain.manifest)


def test_evidence_is_written_chained_and_reads_back(baseline: Bundle, candidate: Bundle) -> None:
    verdict = compare(baseline.path, candidate, plan=QUICK, process_memory=False, dataset=Scenes())
    assert read_record(candidate.proofs[0] / "verdict.json", Verdict) == verdict
    latency = read_record(candidate.proofs[0] / "latency.json", LatencyMeasurement)
    quality = read_record(candidate.proofs[0] / "quality-candidate.json", QualityMeasurement)
    assert verdict.measurements["latency.json"] == latency.sha256()
    assert verdict.measurements["quality-candidate.json"] == quality.sha256()
    assert file_problems(candidate.path) == []
    path = candidate.proofs[0] / "latency.json"
    path.write_bytes(path.read_bytes().replace(b'"pair": 0', b'"pair": 9', 1))
    assert any("latency.json was changed" in problem for problem in file_problems(candidate.path))


def test_an_extra_operator_fails_graph_parts_and_memory(tmp_path: Path, baseline: Bundle) -> None:
    longer = tiny_bundle(tmp_path / "longer", extra_node=True)
    verdict, _ = verdict_of(longer, baseline)
    checks = by_name(verdict)
    failed = [name for name, check in checks.items() if check.result == "FAIL"]
    assert {"graph", "training-only parts", "memory"} <= set(failed)
    assert verdict.exit_code == 1


def test_no_data_set_leaves_accuracy_open(baseline: Bundle, candidate: Bundle) -> None:
    verdict, _ = verdict_of(candidate, baseline)
    accuracy = by_name(verdict)["accuracy"]
    assert accuracy.result == "UNAVAILABLE"
    assert any("--dataset" in text for text in accuracy.details)
    assert verdict.result == "UNDECIDED"


def test_wrong_golden_labels_fail_the_outputs(baseline: Bundle, candidate: Bundle) -> None:
    golden = candidate.golden()
    np.savez_compressed(
        candidate.path / "golden.npz", images=golden["images"], labels=(golden["labels"] + 1) % 3
    )
    verdict, _ = verdict_of(candidate, baseline)
    assert by_name(verdict)["outputs"].result == "FAIL"


def test_the_parity_of_an_export_takes_the_place_of_the_golden_images(
    baseline: Bundle, candidate: Bundle
) -> None:
    parity = Pair.of(baseline, candidate).record(
        OutputsMeasurement, against="trained network", images=3, pixels=9,
        agreement=1.0, scores_max_abs=0.5, scores_max_rel=0.1, layers=("conv 0.2",),
    )  # fmt: skip
    verdict, records = verdict_of(candidate, baseline, outputs=parity)
    outputs = by_name(verdict)["outputs"]
    assert (outputs.result, outputs.required) == ("FAIL", True)
    assert outputs.numbers["layers"] == ["conv 0.2"]
    assert records["outputs.json"] is parity


@pytest.mark.parametrize(
    ("apart", "spread", "agreement", "result"),
    [
        (0.15, 400.0, 0.999997, "PASS"),  # PIDNet with scores up to 296
        (0.15, 20.0, 0.999997, "FAIL"),
        (0.15, None, 0.999997, "FAIL"),  # a record of before
        (0.0009, 0.1, 1.0, "PASS"),  # no bound below the one that was declared
        (0.0011, 0.1, 1.0, "FAIL"),
        (0.0, 400.0, 0.9998, "FAIL"),  # the labels decide
    ],
)
def test_scores_are_held_to_their_spread(
    apart: float, spread: float | None, agreement: float, result: str,
    baseline: Bundle, candidate: Bundle,
) -> None:  # fmt: skip
    record = Pair.of(baseline, candidate).record(
        OutputsMeasurement, against="trained network", pixels=9, agreement=agreement,
        scores_max_abs=apart, scores_max_rel=0.1, scores_spread=spread,
    )  # fmt: skip
    assert OUTPUTS.judge({"outputs.json": record}, Terms()).result == result


def test_without_onnx_the_checks_say_what_to_install(
    baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    verdict, _ = verdict_of(candidate, baseline)
    checks = by_name(verdict)
    for name in ("graph", "training-only parts", "program", "memory"):
        assert checks[name].result == "UNAVAILABLE"
        assert any("pip install" in text for text in checks[name].details)
    assert checks["outputs"].result == "PASS"
    assert checks["latency"].result != "UNAVAILABLE"
    assert verdict.exit_code == 3


def test_bundles_for_different_targets_or_classes_are_refused(
    tmp_path: Path, baseline: Bundle
) -> None:
    other = tiny_bundle(tmp_path / "half", precision="fp16")
    with pytest.raises(BundleError, match=r"different targets \(precision\); got fp16"):
        compare(baseline, other)
    chain = tiny_bundle(tmp_path / "chain", head="chain")
    with pytest.raises(BundleError, match=r"different targets \(forms\); got \('chain',\)"):
        compare(baseline, chain)
    renamed = baseline.manifest.labels.model_copy(update={"names": ("x", "y", "z")})
    foreign = Bundle(baseline.path, baseline.manifest.model_copy(update={"labels": renamed}))
    with pytest.raises(BundleError, match="different classes"):
        compare(baseline, foreign)


def test_a_target_calls_checks_optional_by_their_names(tmp_path: Path, baseline: Bundle) -> None:
    free = tiny_bundle(tmp_path / "free", optional=("latency", "accuracy"))
    checks = by_name(verdict_of(free, baseline)[0])
    required = {name for name, check in checks.items() if check.required}
    assert required == {"graph", "training-only parts", "program", "memory", "outputs"}
    wrong = tiny_bundle(tmp_path / "wrong", optional=("latancy",))
    with pytest.raises(RecipeError, match=r"unknown check; got 'latancy'.*Did you mean latency"):
        compare(baseline, wrong)


def test_another_margin_and_another_baseline_stay_out_of_a_bundle(
    tmp_path: Path, baseline: Bundle, candidate: Bundle
) -> None:
    quick = {"plan": QUICK, "process_memory": False}
    with pytest.raises(UsageError, match="stand in its target"):
        compare(baseline, candidate, margin_percent=50.0, **quick)
    verdict = compare(baseline, candidate, margin_percent=50.0, out=tmp_path / "out", **quick)
    assert verdict.target["margins"]["latency_percent"] == 50
    assert by_name(verdict)["latency"].numbers["median"]["margin_percent"] == 50
    assert read_record(tmp_path / "out" / "verdict.json", Verdict) == verdict
    assert not candidate.evidence.exists()
    manifest = candidate.manifest.model_copy(update={"baseline": "0" * 64})
    with pytest.raises(UsageError, match="carries another baseline"):
        compare(baseline, Bundle(candidate.path, manifest), **quick)


def test_a_reopened_bundle_compares_the_same(baseline: Bundle) -> None:
    verdict, _ = verdict_of(open_bundle(baseline.path), baseline)
    assert by_name(verdict)["graph"].result == "PASS"
