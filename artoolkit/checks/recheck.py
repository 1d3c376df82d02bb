"""Answer the verdicts in a bundle again, from the manifests and the measurements beside them.

Every check is answered again, as far as this machine can: from the two model files, or from its raw
measurements. Required checks, margins, target and subjects are the manifests'. So a verdict that
was written anew, with every hash around it put right, is still found unless its measurements were
forged to fit; `artoolkit.evidence.signature` is for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from artoolkit.checks.compare import VERDICT, newest_answer
from artoolkit.checks.contest import Pair, check_same_kind, terms_of
from artoolkit.checks.kind import CheckKind, Terms
from artoolkit.checks.registry import CHECKS
from artoolkit.errors import ArtoolkitError, BundleError
from artoolkit.evidence.bundle import STAMP, STAMP_DIGITS, Bundle
from artoolkit.evidence.records import current_environment, read_record
from artoolkit.evidence.seal import read_sealed
from artoolkit.evidence.verdict import Check, Verdict, failed, in_brief, meaning
from artoolkit.files import faults_of
from artoolkit.spec import Target, problems

# The same numbers on another processor: far more than rounding, far less than what decides.
TOLERANCE = 1e-6
NAME, TRUST = "evidence", "taken on trust"
# From the verdict to its folder its records are written; on a slow card that takes seconds.
WRITTEN_WITHIN = timedelta(minutes=1)


def check_evidence(bundle: Bundle) -> list[Check]:
    """A check for every verdict in `evidence/`, the newest first: this bundle's, and it follows.

    The details say of every check how far it was answered again. A verdict of another version is
    refused by name, which is UNAVAILABLE.
    """
    names = chain([NAME], (f"{NAME} {folder.name}" for folder in bundle.proofs[1:]))
    return [
        _check_proof(bundle, folder, name)
        for folder, name in zip(bundle.proofs, names, strict=False)
    ]


@dataclass(frozen=True)
class _Proof:
    """A verdict, the folder that it lies in, and the bundle that both are of."""

    bundle: Bundle
    folder: Path
    verdict: Verdict

    @property
    def terms(self) -> Terms:
        verdict = self.verdict
        return terms_of(self.bundle.manifest, verdict.baseline, verdict.candidate)


def _check_proof(bundle: Bundle, folder: Path, name: str) -> Check:
    path = folder / VERDICT
    wrong, answers = [], []
    try:
        if (version := read_sealed(path).get("schema_version")) != Verdict.VERSION:
            other = f"a verdict of version {version}; this artoolkit reads {Verdict.VERSION}"
            brief = in_brief(other, "artoolkit compare BUNDLE gives another.")
            # An older proof that only an older artoolkit reads leaves the newest one its answer.
            return Check(name=name, result="UNAVAILABLE", required=name == NAME, **brief)
        verdict = read_record(path, Verdict)
        proof = _Proof(bundle, folder, verdict)
        wrong = [*_chain(proof), *_declared(proof)]
    except BundleError as error:
        return failed(name, [str(error)])
    for kind in CHECKS:
        try:
            answers += _answered(kind, proof)
        except ArtoolkitError as error:  # noqa: PERF203 -- every check, whatever another one says
            wrong.append(f"{kind.name}: {error}")
    if wrong:
        return failed(name, wrong)
    known = [kind.name for kind in CHECKS]
    answers += [f"{c.name} {c.result}: {TRUST}" for c in verdict.checks if c.name not in known]
    brief = in_brief(f"the verdict {verdict.result} is of this bundle and follows", *answers)
    return Check(name=name, result="PASS", **brief)


def _chain(proof: _Proof) -> Iterator[str]:
    """Links of the chain manifest <- verdict -> measurements that do not hold."""
    bundle, verdict = proof.bundle, proof.verdict
    if verdict.candidate.sha256 != bundle.manifest.sha256:
        yield "the verdict is of another bundle: it names another manifest"
    if bundle.manifest.baseline not in (None, verdict.baseline.sha256):
        yield "the verdict is against another baseline than the bundle carries"
    if not _is_dated(proof):
        yield f"{proof.folder} has another date than the verdict in it ({verdict.created})"
    if len({check.name for check in verdict.checks}) != len(verdict.checks):
        yield "the verdict answers a check twice"
    if verdict.meaning != meaning(verdict.checks):
        yield "the verdict's sentence is not what its checks amount to"
    for name, sha256 in verdict.measurements.items():
        record = proof.folder / name
        if not record.is_file():
            yield f"{record} is missing, and the verdict rests on it"
        elif read_sealed(record)["sha256"] != sha256:
            yield f"{record} is not the measurement that the verdict was made from"


def _is_dated(proof: _Proof) -> bool:
    """True if the folder's name, which says which verdict is the newest, has the verdict's date."""
    try:
        named = datetime.strptime(proof.folder.name[:STAMP_DIGITS], STAMP)
        apart = named.replace(tzinfo=timezone.utc) - datetime.fromisoformat(proof.verdict.created)
    except (ValueError, TypeError):  # no date, or one without a time zone
        return False
    return abs(apart) <= WRITTEN_WITHIN


def _declared(proof: _Proof) -> Iterator[str]:
    """Differences between the declarations of the verdict or the baseline and the manifest."""
    bundle = proof.bundle
    try:
        target = Target.model_validate(proof.verdict.target)
    except ValidationError as error:
        yield f"the verdict's target is not valid: {problems(error)}"
        return
    for name in Target.model_fields:
        ours, theirs = getattr(target, name), getattr(bundle.manifest.target, name)
        if ours != theirs:
            yield f"{name} is {ours} in the verdict's target and {theirs} in the manifest's"
    if bundle.baseline is not None:
        check_same_kind(bundle.manifest, bundle.baseline.manifest)


def _answered(kind: CheckKind, proof: _Proof) -> list[str]:
    """Answer a check again and describe how; `BundleError` where the verdict says otherwise."""
    terms, verdict = proof.terms, proof.verdict
    row = _row(kind, verdict)
    if row is None:
        if kind.requires(terms):
            raise BundleError("the verdict has no answer, and one is required")
        return []
    if row.required != kind.requires(terms):
        expected = "required" if kind.requires(terms) else "optional"
        raise BundleError(f"the manifest calls it {expected}, and the verdict does not")
    if row.origin:
        return _kept(kind, row, proof)
    measured, why_not = _measured(kind, proof.bundle)
    # Where somebody without the library asked, any answer but FAIL speaks for the bundle.
    if measured is not None and (row.result != "UNAVAILABLE" or measured.result == "FAIL"):
        how = "measured again from both files"
        _compare(row, measured, how, verdict)
        return [f"{kind.name} {row.result}: {how}"]
    records = dict(_records(kind, proof))
    if records:
        with faults_of("its measurements", BundleError):
            again = kind.answer(records, terms)
        _compare(row, again, "by its measurements", verdict)
        return [f"{kind.name} {row.result}: {why_not or 'judged again from its measurements'}"]
    if row.result != "UNAVAILABLE":
        raise BundleError(f"{row.result} has no measurement")
    return []


def _row(kind: CheckKind, verdict: Verdict) -> Check | None:
    return next((check for check in verdict.checks if check.name == kind.name), None)


def _kept(kind: CheckKind, row: Check, proof: _Proof) -> list[str]:
    """Origin of an answer that was taken over from an earlier proof, which is checked by itself.

    It has to be the newest one: an older answer may be the better one.
    """
    older = (one for one in proof.bundle.proofs if one.name < proof.folder.name)
    hashes = tuple(subject.sha256 for subject in proof.verdict.subjects)
    earlier = newest_answer(kind.name, older, hashes)
    if earlier is None or not kind.portable:
        raise BundleError("no earlier proof answers it for these two bundles")
    if earlier.model_copy(update={"required": row.required}) != row:
        raise BundleError(f"the newest answer before, in {earlier.origin}, is another")
    return [f"{kind.name} {row.result}: answered in {row.origin}"]


def _measured(kind: CheckKind, bundle: Bundle) -> tuple[Check | None, str]:
    """The answer from the two model files, or why it is taken on trust; neither: it is judged."""
    if kind.again == "records":
        return None, ""
    if kind.again == "trust":
        return None, f"{TRUST}: made where its library or device is"
    if bundle.baseline is None:
        return None, f"{TRUST}: the bundle carries no baseline"
    check, _ = kind.ask(Pair.of(bundle.baseline, bundle))
    if check is None or check.result == "UNAVAILABLE":
        return None, f"{TRUST}: {check.headline if check else 'it does not apply'}"
    return check, ""


def _records(kind: CheckKind, proof: _Proof) -> Iterator[tuple[str, Any]]:
    """The records that the answer rests on, each of those who are compared; all or none."""
    listed = [name for name in kind.records if name in proof.verdict.measurements]
    for name in listed:
        record = read_record(proof.folder / name, kind.records[name])
        if tuple(subject.sha256 for subject in record.subjects) != proof.terms.hashes(name):
            raise BundleError(f"{name} is the measurement of another bundle")
        yield name, record
    missing = set(kind.records) - {*listed, *kind.may_lack}
    if listed and missing:
        raise BundleError(f"it has no measurement {', '.join(sorted(missing))}")


def _compare(row: Check, again: Check, how: str, verdict: Verdict) -> None:
    """Raises `BundleError` where the verdict's answer is not the one that was found again.

    numpy may change its random streams, and artoolkit its words: where they are other versions,
    only the answer and single numbers are compared, which no resampling went into.
    """
    if row.result != again.result:
        raise BundleError(f"{again.result} {how}, and not {row.result}")
    there, here = verdict.environment, current_environment()
    same = (there.artoolkit, there.libraries.get("numpy")) == (
        here.artoolkit, here.libraries.get("numpy")
    )  # fmt: skip
    ours, theirs = (check.numbers if same else _single(check.numbers) for check in (row, again))
    if place := difference(ours, theirs):
        raise BundleError(f"{place} is not the number {how}")
    if same and (row.headline, row.details) != (again.headline, again.details):
        raise BundleError(f"its words are not those {how}")


def _single(numbers: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in numbers.items() if not isinstance(value, (dict, list))}


def difference(ours: Any, theirs: Any, place: str = "") -> str | None:
    """Place where two JSON values differ by more than `TOLERANCE`, or None."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        parts = [(f"{place}.{key}".lstrip("."), ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        parts = [(f"{place}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    else:
        numbers = isinstance(ours, float) and isinstance(theirs, (int, float))
        near = numbers and math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return None if near or ours == theirs else place or "its numbers"
    return next((found for where, a, b in parts if (found := difference(a, b, where))), None)
