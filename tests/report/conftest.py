"""A report of a judged bundle and two runs, made once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from judged import Scenes, judged_bundle

from artoolkit.report.content import ReportContent
from artoolkit.report.page import as_html, gather


def write_run(folder: Path, *, weight: float, steps: int = 40) -> Path:
    """A run folder with two epochs; the AR term only where its weight is not 0."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows: list[dict[str, object]] = [{"kind": "start", "seed": 1}]
    for step in range(1, steps + 1):
        row: dict[str, object] = {
            "kind": "iteration", "iteration": step, "epoch": 1 + 2 * step // (steps + 1),
            "cross_entropy": 1 / step + random.normal(0, 0.01),
        }  # fmt: skip
        if weight:
            row["affinity_regression"] = 0.2 - 0.001 * step + random.normal(0, 0.005)
        rows.append(row)
    rows += [{"kind": "epoch", "epoch": 1, "mIoU": 40.0}, {"kind": "epoch", "epoch": 2, "mIoU": 50}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"cut')
    (folder / "recipe.toml").write_text(f"ar_weight = {weight}\n")
    return folder


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A bundle that carries its baseline and evidence, an AR run and its control."""
    folder = tmp_path_factory.mktemp("report")
    candidate = judged_bundle(folder, network="tiny <&> network")
    runs = write_run(folder / "ar", weight=1), write_run(folder / "control", weight=0)
    return candidate.path, *runs


@pytest.fixture(scope="session")
def content(paths: tuple[Path, Path, Path]) -> ReportContent:
    return gather(paths, dataset=Scenes(), images=2)


@pytest.fixture(scope="session")
def html(content: ReportContent) -> str:
    return as_html(content)
