"""Is this bundle whole, and does it compute on this machine what it should?

Needs neither torch nor onnx: hashes, whether the verdict follows from its measurements, the
signature where one is asked for, then the golden images through the backend.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends import open_runner
from artoolkit.checks.recheck import check_evidence
from artoolkit.errors import BackendError, MissingLibraryError
from artoolkit.evidence.bundle import SIGNATURE, Bundle, file_problems, open_bundle
from artoolkit.evidence.engines import engine_problems
from artoolkit.evidence.keys import read_public_key
from artoolkit.evidence.signature import check_signature, note_signature
from artoolkit.evidence.verdict import Check
from artoolkit.labels import VOID


def check_files(path: Path) -> Check:
    """Every file, the baseline's, the evidence's and the engines' too, has the sealed hash."""
    problems = file_problems(path)
    if not problems:
        problems = engine_problems(open_bundle(path, check_hashes=False))
    if problems:
        return Check(
            name="files",
            result="FAIL",
            summary="; ".join(problems),
            numbers={"problems": problems},
        )
    return Check(name="files", result="PASS", summary="every file has the hash it was sealed with")


def agreement(predicted: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Share of pixels with the same label in [0, 1], pixels that are expected void left out."""
    known = expected != VOID
    return float((predicted[known] == expected[known]).mean())


def check_golden(
    bundle: Bundle,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Check:
    """The golden images give the golden labels, but for the pixels that the margin allows."""
    target = bundle.manifest.target
    least = target.margins.label_agreement[target.precision]
    golden = bundle.golden()
    try:
        runner = open_runner(bundle, backend=backend, device=device, threads=threads)
    except MissingLibraryError as error:
        return Check(name="golden replay", result="UNAVAILABLE", summary=str(error))
    except BackendError as error:
        return Check(name="golden replay", result="FAIL", summary=str(error))
    with runner:
        batches = np.split(golden["images"], len(golden["images"]) // target.batch)
        predicted = np.concatenate([runner.infer(batch)["labels"] for batch in batches])
    share = agreement(predicted, golden["labels"])
    return Check(
        name="golden replay",
        result="PASS" if share >= least else "FAIL",
        summary=f"{100 * share:.4f} % of the pixels of {len(predicted)} golden images have the "
        f"expected label (at least {100 * least:g} % needed)",
        numbers={"agreement": share, "least": least, "images": len(predicted)},
    )


def verify_bundle(
    path: Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    public_key: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Check, ...]:
    """The checks of `artoolkit verify`; a bundle that is not whole is not run.

    With `public_key` a signature made with its private key is required. Raises `UsageError` for a
    file that is no such key, `MissingLibraryError` where `cryptography` is missing.
    """
    key = None if public_key is None else read_public_key(public_key)
    progress("hashes")
    checks = [check_files(path)]
    if checks[0].result == "PASS":
        progress("evidence")
        checks += filter(None, [check_evidence(open_bundle(path, check_hashes=False))])
    if key is not None:
        checks.append(check_signature(path, key))
    elif (path / SIGNATURE).is_file():
        checks.append(note_signature(path))
    if any(check.result == "FAIL" for check in checks if check.required):
        return tuple(checks)
    progress("golden images")
    # The hashes were checked above.
    bundle = open_bundle(path, check_hashes=False)
    golden = check_golden(bundle, backend=backend, device=device, threads=threads)
    return *checks, golden
