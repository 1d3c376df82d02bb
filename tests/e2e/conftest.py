"""One small journey, made once by the command line itself and shared by all tests here."""

from __future__ import annotations

import pytest
from small_journey import Journey
from small_town import tiny_recipe

from artoolkit.cli import run

SIZE = ("64", "128")
# Blocks so short that the noise of a shared machine decides the latency check, not these tests.
QUICK = ("--budget-s", "1", "--blocks", "2")


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Data -> baseline -> AR and control -> bundle with verdict, on pictures of 64 x 128."""
    root = tmp_path_factory.mktemp("journey")
    made = Journey(root, 0)
    (root / "tiny.toml").write_text(tiny_recipe(2, crop=(64, 128), optimizer="lr = 0.02"))
    machine = ("--workers", "0")
    baseline = ("finetune", "--baseline", made.checkpoint("baseline"), *made.data, *machine)
    for arguments in (
        ("data", "synthesize", str(root / "data"), "--train", "4", "--val", "3", "--imgsz", *SIZE),
        ("train", "--recipe", str(root / "tiny.toml"), *made.data, *machine, "--out",
         str(root / "baseline")),
        (*baseline, "--out", str(root / "ar")),
        (*baseline, "--out", str(root / "control"), "--control"),
    ):  # fmt: skip
        assert run(arguments) == 0, arguments
    code = run(
        ("export", made.checkpoint("ar"), "--baseline", made.checkpoint("baseline"), *made.data,
         "--imgsz", *SIZE, "--golden", "2", *QUICK, "--out", str(made.bundle))
    )  # fmt: skip
    return Journey(root, code)
