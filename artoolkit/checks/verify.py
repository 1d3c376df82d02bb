"""Verify that a bundle is whole and computes the expected labels on this machine.

Needs neither torch nor onnx: hashes, whether the verdict follows from its measurements, the
signature where one is asked for, then the golden images through the backend.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import unavailable
from artoolkit.checks.outputs import OUTPUTS
from artoolkit.checks.recheck import check_evidence
from artoolkit.errors import BackendError, MissingLibraryError
from artoolkit.evidence.bundle import Bundle, open_bundle, read_manifest
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.engines import engine_files
from artoolkit.evidence.keys import read_public_key
from artoolkit.evidence.signature import check_signature, note_signature
from artoolkit.evidence.verdict import EXIT_CODES, Answer, Check, failed, overall
from artoolkit.spec import Frozen

GOLDEN = "golden replay"


class Verification(Frozen):
    """Results of `verify`: one check each for files, evidence, signature and golden images."""

    checks: tuple[Check, ...]

    @property
    def result(self) -> Answer:
        return overall(self.checks)

    @property
    def exit_code(self) -> int:
        """0 all hold, 1 one does not, 3 something could not be run or read."""
        return EXIT_CODES[self.result]


def check_files(path: Path) -> Check:
    """Every file, the baseline's, the evidence's and the engines' too, has the sealed hash."""
    problems = file_problems(path)
    if problems:
        return failed("files", problems)
    whole = "every file has the hash it was sealed with"
    engines = [file.name for file in engine_files(open_bundle(path, check_hashes=False))]
    listed = (f"engines: {', '.join(engines)}",) if engines else ()
    return Check(name="files", result="PASS", headline=whole, details=listed)


def check_golden(
    bundle: Bundle,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Check:
    """The golden images give the golden labels, but for the pixels that the margin allows."""
    pair = Pair.of(bundle, bundle, backend=backend, device=device, threads=threads, options=options)
    try:
        found = OUTPUTS.answer(OUTPUTS.measure(pair) or {}, pair.terms)
    except MissingLibraryError as error:
        return unavailable(GOLDEN, error)
    except BackendError as error:
        return failed(GOLDEN, [str(error)])
    return found.model_copy(update={"name": GOLDEN, "required": True})


def verify(
    bundle: Bundle | Path | str,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    public_key: Path | None = None,
    **options: Any,
) -> Verification:
    """Check that a bundle is whole and computes here what it should; a broken one is not run.

    Every file is hashed, the verdict in its evidence is answered again as far as this machine can
    (`artoolkit.checks.recheck`), and the golden images are replayed on `backend` and `device`
    (None: the target's; `options` are the backend's own). With `public_key` a signature made with
    its private key is required. Raises `BundleError` for a file in place of the folder,
    `UsageError` for a file that is no such key, `MissingLibraryError` where `cryptography` is
    missing.

    >>> import artoolkit
    >>> found = artoolkit.verify("bundle")
    >>> found.result, found.exit_code
    ('PASS', 0)
    """
    path = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
    if path.is_file():
        read_manifest(path)  # no bundle: it says what the file is for
    key = None if public_key is None else read_public_key(public_key)
    checks = [check_files(path)]
    if checks[0].result == "PASS":
        checks += check_evidence(open_bundle(path, check_hashes=False))
    checks.append(note_signature(path) if key is None else check_signature(path, key))
    if any(check.result == "FAIL" for check in checks if check.required):
        return Verification(checks=tuple(checks))
    # The hashes were checked above.
    whole = open_bundle(path, check_hashes=False)
    golden = check_golden(whole, backend=backend, device=device, threads=threads, **options)
    return Verification(checks=(*checks, golden))
