"""A check of the verdict as one object: its question, how it is measured, judged and asked again.

Read next: `contest.py` (who is compared) and `registry.py` (the list of all checks). To add one,
write a file with a `CheckKind` and name it in that list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from artoolkit.errors import (
    ArtoolkitError,
    BackendError,
    ExportError,
    MissingLibraryError,
    UnavailableError,
)
from artoolkit.evidence.records import Record
from artoolkit.evidence.verdict import NAMELESS, Check, Subject, in_brief
from artoolkit.spec import Margins
from artoolkit.words import Precision

if TYPE_CHECKING:
    from artoolkit.checks.contest import Pair

# Raw measurements by the name of their file.
Records = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Subjects and terms declared before measuring, all of them from the manifests.

    `checkpoint`: sha256 of the file that the candidate was exported from; `optional`: names of the
    checks that decide nothing.
    """

    baseline: Subject = NAMELESS
    candidate: Subject = NAMELESS
    checkpoint: str = ""
    margins: Margins = field(default_factory=Margins)
    precision: Precision = "fp32"
    optional: tuple[str, ...] = ()

    def hashes(self, file: str) -> tuple[str, ...]:
        """The sha256 of those whom the record in `file` has to be of, by the end of its name."""
        both = (self.baseline.sha256, self.candidate.sha256)
        roles = {"baseline": both[:1], "candidate": both[1:], "trained": (self.checkpoint,)}
        return roles.get(file.removesuffix(".json").rpartition("-")[2], both)


@dataclass(frozen=True, kw_only=True)
class CheckKind:
    """One check of the verdict.

    `question`: one line, for the documentation. `records`: every file with its type; a name ends in
    -baseline, -candidate or -trained where the record is of one of them alone, and those of
    `may_lack` need not be there. `measure` returns them, or None where the check does not apply to
    the pair; it raises `MissingLibraryError`, `BackendError`, `ExportError` or `UnavailableError`
    where this machine has no answer. `judge` is a pure function, so that `compare`, `verify`, the
    report and the calibration judge alike. `again`: `verify` measures the two model "files", or
    judges the "records", or takes what a library or device said on "trust". `required`: unless the
    target calls it optional. `portable`: the answer of another machine holds here too, so that a
    verdict made where it cannot be measured keeps it.
    """

    name: str
    question: str
    records: Mapping[str, type[Record]]
    measure: Callable[[Pair], Records | None]
    judge: Callable[[Records, Terms], Check]
    again: Literal["files", "records", "trust"] = "records"
    required: bool = True
    portable: bool = False
    may_lack: tuple[str, ...] = ()

    def requires(self, terms: Terms) -> bool:
        """True if the verdict needs a clear answer."""
        return self.required and self.name not in terms.optional

    def answer(self, records: Records, terms: Terms) -> Check:
        """The answer that the records give."""
        found = self.judge(records, terms)
        return found.model_copy(update={"name": self.name, "required": self.requires(terms)})

    def ask(self, pair: Pair) -> tuple[Check | None, Records]:
        """The answer on this machine with its records; None where the check does not apply."""
        try:
            records = self.measure(pair)
        except (MissingLibraryError, BackendError, ExportError, UnavailableError) as error:
            return unavailable(self.name, error, required=self.requires(pair.terms)), {}
        return (None, {}) if records is None else (self.answer(records, pair.terms), records)


def unavailable(name: str, error: ArtoolkitError, *, required: bool = True) -> Check:
    """No answer, and why: the error's first part, and what else it says below."""
    what = " ".join(error.what.split())
    rest = str(error).removeprefix(what).lstrip(";. ")
    brief = in_brief(what, *([rest] if rest else []))
    return Check(name=name, result="UNAVAILABLE", **brief, required=required)
