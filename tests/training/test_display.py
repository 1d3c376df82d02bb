from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from artoolkit.training import display
from artoolkit.training.display import ProgressBar
from artoolkit.training.recipe import Recipe
from artoolkit.training.state import Progress

Make = Callable[..., Recipe]
START = Progress(0, 0, 0)


def shown(recipe: Recipe, progress: Progress = START, *, terminal: bool = False) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200, color_system=None)
    with ProgressBar(console) as bar:
        bar.started(recipe, 3, progress)
        bar.stepped({"loss": 1.0, "a": 0.4, "b": 0.6, "lr": 0.02, "iteration": 1})
        bar.stepped({"loss": 2.0, "a": 0.5, "b": 1.5, "lr": 0.02, "iteration": 2})
        bar.evaluated({"epoch": 1, "mIoU": 12.345, "aAcc": 50.0})
        bar.stepped({"loss": 4.0, "lr": 0.01, "iteration": 3})
        bar.evaluated({"epoch": 2})
    return text.getvalue()


def test_a_file_gets_one_line_a_run_and_one_an_epoch(tiny: Make) -> None:
    assert shown(tiny({"loss.ar_weight": 0.1})).splitlines() == [
        "tiny: icnet, 2 epochs of 3 steps, batch 2, seed 3, AR weight 0.1, fp32 on cpu",
        "epoch 1/2  loss 1.5000  (a 0.4500, b 1.0500)  mIoU 12.35 %  aAcc 50.00 %",
        "epoch 2/2  loss 4.0000",
    ]


def test_a_resumed_run_says_from_where(tiny: Make) -> None:
    assert "2 epochs of 3 steps from epoch 2, step 2, batch" in shown(tiny(), Progress(1, 1, 0))


def test_a_terminal_gets_a_bar_with_the_steps(tiny: Make) -> None:
    text = shown(tiny(), Progress(0, 1, 0), terminal=True)
    assert "4/6" in text
    assert "loss 4.000" in text


@pytest.mark.parametrize(("native", "warned"), [("fp32", True), ("bf16", False)])
def test_an_emulated_precision_is_said(
    native: str, warned: bool, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "native_precision", lambda device: native)
    text = shown(tiny({"execution.precision": "bf16"}))
    assert ("emulated" in text) == warned
