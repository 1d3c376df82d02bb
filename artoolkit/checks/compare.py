"""All checks of a candidate against a baseline, in order, and the verdict over them.

Nothing here needs torch. What a check needs and this machine lacks makes it UNAVAILABLE, with the
command that installs it. Raw measurements are written beside the verdict and named in it by hash.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.backends.backend import Model, Progress
from artoolkit.checks.contest import Pair, check_same_kind
from artoolkit.checks.kind import Records
from artoolkit.checks.registry import CHECKS, asked_by, check_names
from artoolkit.cost.accelerator import device_identity
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.data import DataSet, dataset_of
from artoolkit.errors import BundleError, DataError, UsageError
from artoolkit.evidence.bundle import MODEL, Bundle, open_bundle
from artoolkit.evidence.callback import Callback
from artoolkit.evidence.folders import new_folder
from artoolkit.evidence.records import machine_name, read_record
from artoolkit.evidence.verdict import Check, Verdict, decide
from artoolkit.files import read_npz
from artoolkit.graph.onnx_file import Shapes, load_onnx, open_inputs, with_shapes
from artoolkit.optional import is_installed
from artoolkit.words import Question

if TYPE_CHECKING:
    from artoolkit.checks.outputs import OutputsMeasurement
    from artoolkit.evaluation.quality import QualityMeasurement

VERDICT = "verdict.json"


def compare(
    baseline: Model | str,
    candidate: Model | str | None = None,
    *,
    out: Path | str | None = None,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    split: str = "val",
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    plan: LatencySettings | None = None,
    margin_percent: float | None = None,
    inputs: Path | None = None,
    shapes: Shapes | None = None,
    outputs: OutputsMeasurement | None = None,
    trained: QualityMeasurement | None = None,
    seed: int = 0,
    process_memory: bool = True,
    question: Question = "equal",
    progress: Progress = lambda what, share: None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Verdict:
    """Judge `candidate` against `baseline`: every check of `CHECKS` that applies.

    Both are bundles (open, or their folders) or both paths of .onnx files; one bundle alone is
    compared with the baseline that it carries. Verdict and raw measurements are written to the
    folder `out`, in one step, in place of an older verdict; without it into a new folder of the
    candidate bundle's evidence, and nowhere for files.

    `dataset`, `data_root`, `classes` and `split` are for the accuracy check. `backend`, `device`,
    `threads`: by default those of the candidate's target; `options` are the backend's own, as
    `refit=True`. `plan` says how latency is measured, `margin_percent` puts another margin in the
    place of the target's, which needs `out`. `inputs`: an .npz with inputs by name for two files,
    otherwise `seed` makes them; `shapes`: of inputs that are open in the files, by name (by default
    those in `inputs`). `outputs` and `trained`: what an export measured of the trained network.
    `process_memory`: whether peaks of fresh processes are measured. `question` "precision" asks
    what a precision cost instead: size, latency and accuracy of two bundles that differ in it;
    such an answer is written to `out` alone, and is no evidence of the bundle. `callbacks` are told
    the verdict.

    Raises `UsageError` for a pair that cannot be compared, `BundleError` where bundles were changed
    or made for other targets, `DataError` for the data set, `ExportError` for a file that is no
    ONNX, `BackendError` where one does not open.

    >>> import artoolkit
    >>> from artoolkit.cost.latency_record import LatencySettings
    >>> verdict = artoolkit.compare("bundle", plan=LatencySettings(pairs=2, budget_s=1))
    >>> {check.name: check.result for check in verdict.checks}["graph"]
    'PASS'
    """
    data = None if dataset is None else dataset_of(dataset, data_root, classes=classes)
    if data is not None:
        data.samples(split)  # a root or split that is not there is told before anything is measured
    out = None if out is None else Path(out)
    if out is not None and not _is_ours(out):
        raise UsageError(f"{out} holds something else than a verdict", hint="Use another --out.")
    first, last = _sides(
        Path(baseline) if isinstance(baseline, str) else baseline,
        Path(candidate) if isinstance(candidate, str) else candidate,
        inputs,
        shapes,
        question,
    )
    with tempfile.TemporaryDirectory(prefix="artoolkit-static-") as folder:
        sides = [_static(side, inputs, shapes, Path(folder) / f"{index}.onnx")
                 for index, side in enumerate((first, last))]  # fmt: skip
        (first, first_given), (last, last_given) = sides
        pair = Pair.of(
            first, last, given=(first_given, last_given), backend=backend, device=device,
            threads=threads, options=options, dataset=data, split=split,
            plan=plan or LatencySettings(), margin_percent=margin_percent, inputs=inputs,
            outputs=outputs, trained=trained, seed=seed, process_memory=process_memory,
            question=question, progress=progress,
        )  # fmt: skip
        bundle = pair.candidate.model if isinstance(pair.candidate.model, Bundle) else None
        bundle = bundle if question == "equal" else None
        kept: Mapping[str, Check] = {}
        if bundle is not None and out is None:
            _check_own_evidence(pair, bundle)
            kept = _earlier_answers(pair, bundle)
        verdict, records = judged(pair, kept)
    written: Mapping[str, Any] = {**records, VERDICT: verdict}
    content = {name: record.to_bytes() for name, record in written.items()}
    if out is not None:
        with new_folder(out) as folder:
            for name, one in content.items():
                (folder / name).write_bytes(one)
    elif bundle is not None:
        bundle.add_proof(content, machine_name(verdict.environment))
    for one in callbacks:
        one.on_verdict(verdict)
    return verdict


def _is_ours(out: Path) -> bool:
    """True if the folder can take the records: it is new or empty, or holds those of another."""
    if not out.exists():
        return True
    names = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    return not names or (VERDICT in names and all(name.endswith(".json") for name in names))


def judged(pair: Pair, kept: Mapping[str, Check] | None = None) -> tuple[Verdict, Records]:
    """The verdict and the raw records by file name, nothing written.

    A check that has no answer here keeps the one in `kept`, by name.
    """
    checks = []
    records: dict[str, Any] = {}
    asked = asked_by(pair.question)
    for index, kind in enumerate(asked):
        pair.progress(kind.name, index / len(asked))
        check, found = kind.ask(pair)
        if check is not None:
            earlier = (kept or {}).get(kind.name, check)
            checks.append(earlier if check.result == "UNAVAILABLE" else check)
            records |= found
    verdict = decide(
        checks,
        baseline=pair.baseline.subject,
        candidate=pair.candidate.subject,
        target=pair.target,
        measurements={name: record.sha256() for name, record in records.items()},
        seed=pair.seed,
        device=device_identity(pair.device),
    )
    return verdict, records


def _earlier_answers(pair: Pair, bundle: Bundle) -> dict[str, Check]:
    """The newest answers in the bundle's evidence that hold on any machine, by name of the check.

    Read before anything is measured.
    """
    hashes = (pair.baseline.subject.sha256, pair.candidate.subject.sha256)
    return {
        kind.name: found.model_copy(update={"required": kind.requires(pair.terms)})
        for kind in CHECKS
        if kind.portable and (found := newest_answer(kind.name, bundle.proofs, hashes))
    }


def newest_answer(name: str, proofs: Iterable[Path], hashes: tuple[str, ...]) -> Check | None:
    """The first answer to a check in `proofs` of the bundles with these hashes, with its origin.

    A proof that cannot be read gives none, and `artoolkit verify` says why.
    """
    for folder in proofs:
        try:
            verdict = read_record(folder / VERDICT, Verdict)
        except BundleError:
            continue
        if tuple(subject.sha256 for subject in verdict.subjects) == hashes:
            for row in verdict.checks:
                if row.name == name and row.result != "UNAVAILABLE":
                    return row.model_copy(update={"origin": row.origin or folder.name})
    return None


def _sides(
    baseline: Model,
    candidate: Model | None,
    inputs: Path | None,
    shapes: Shapes | None,
    question: Question,
) -> tuple[Model, Model]:
    """The two sides, bundles opened; refused where they are no pair."""
    files = [isinstance(m, Path) and m.suffix == ".onnx" for m in (baseline, candidate)]
    if candidate is not None and all(files):
        return baseline, candidate
    if any(files):
        raise UsageError(
            "an .onnx file is compared with another .onnx file",
            got="one alone" if candidate is None else f"{baseline} and {candidate}",
            expected="artoolkit compare A.onnx B.onnx",
            hint=f"The one in a bundle is called {MODEL}: give that.",
        )
    for what, value in (("--inputs", inputs), ("--shape", shapes)):
        if value:
            raise UsageError(f"{what} is for two .onnx files; a bundle has its golden images")
    first = _opened(baseline)
    inner = first.baseline if candidate is None else first
    if inner is None:
        raise UsageError(
            f"{first.path} carries no baseline",
            expected=f"artoolkit compare BASELINE {first.path}",
            hint="artoolkit export --baseline CHECKPOINT puts one inside.",
        )
    last = first if candidate is None else _opened(candidate)
    check_names(last.manifest.target)
    check_same_kind(last.manifest, inner.manifest, question)
    return inner, last


def _static(
    side: Model, inputs: Path | None, shapes: Shapes | None, copy: Path
) -> tuple[Model, Path | None]:
    """A file whose inputs are open as a copy with static shapes, and the file that it is of.

    The shapes are those that were given, or else those of the arrays in `inputs`. A file that
    cannot be read is an `ExportError` before anything is measured.
    """
    if isinstance(side, Bundle) or not is_installed("onnx"):
        return side, None
    model = load_onnx(side, "comparing files")
    arrays = {} if inputs is None else read_npz(inputs, DataError)
    given = {name: arrays[name].shape for name in open_inputs(model) if name in arrays}
    wanted = given | dict(shapes or {})
    if not wanted:
        return side, None
    copy.write_bytes(with_shapes(model, wanted).SerializeToString())
    return copy, side


def _opened(model: Model) -> Bundle:
    return model if isinstance(model, Bundle) else open_bundle(model)


def _check_own_evidence(pair: Pair, bundle: Bundle) -> None:
    """Refuse other margins, another baseline, or a place where no proof can be added."""
    bundle.check_proofs()
    if pair.margin_percent not in (None, bundle.manifest.target.margins.latency_percent):
        raise UsageError(
            "the margins of a bundle's own evidence stand in its target",
            got=f"--margin {pair.margin_percent:g}",
            hint="Add --out DIR for a verdict with another margin.",
        )
    if bundle.manifest.baseline not in (None, pair.baseline.subject.sha256):
        raise UsageError(
            f"{bundle.path} carries another baseline than {pair.baseline.path}",
            hint="Add --out DIR for a verdict against another one.",
        )
