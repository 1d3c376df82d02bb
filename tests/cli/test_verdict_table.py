"""A verdict in a terminal: the answer and the numbers first, details where they are asked for."""

from __future__ import annotations

import time

import click
import pytest

from artoolkit.cli import main, progress
from artoolkit.cli.progress import progress_bar
from artoolkit.cli.talk import start_log
from artoolkit.cli.verdict_table import show_verdict
from artoolkit.evidence.verdict import Check, Result, Subject, decide

NAMES = ("graph", "training-only parts", "program", "memory", "latency", "outputs", "accuracy")


def verdict(**results: Result):
    checks = [
        Check(
            name=name,
            result=results.get(name, "PASS"),
            headline=f"the headline of {name} [bold]".ljust(80, "."),
            details=("a detail",),
        )
        for name in NAMES
    ]
    one = Subject(name="b", sha256="0")
    return decide(checks, baseline=one, candidate=one, target={})


def shown(capsys: pytest.CaptureFixture[str], **options: object) -> list[str]:
    show_verdict(options.pop("verdict"), title="b against a", **options)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_at_most_twelve_lines_with_the_answer_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys, verdict=verdict())
    assert lines[0].startswith("PASS: ")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    assert text.index("accuracy: ") < text.index("latency: ") < text.index("memory: ")
    assert "graph, training-only parts, program, outputs" in text
    assert "[bold]" in text, "text is never read as markup"
    assert "a detail" not in text


def test_a_check_that_does_not_pass_has_its_own_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = shown(capsys, verdict=verdict(graph="FAIL", latency="UNDECIDED"))
    assert lines[0].startswith("FAIL: ")
    assert any(line.startswith("FAIL        graph: ") for line in lines)
    assert any(line.startswith("UNDECIDED   latency: ") for line in lines)


def test_verbose_shows_the_details(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("a detail" in line for line in shown(capsys, verdict=verdict(), verbose=True))


def test_a_pipe_gets_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.05)
    monkeypatch.setattr(progress.time, "monotonic", iter(range(0, 10_000, 4)).__next__)
    with click.Context(main) as context:
        start_log(context)
        with progress_bar() as report:
            report("mIoU [x]", 0.25)
            # Nothing is reported meanwhile: it goes on all the same.
            time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert lines[0] == "mIoU [x]: 25 %, 4 s, about 12 s left"
