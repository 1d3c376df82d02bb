"""The page: complete, self-contained, accessible; from a bundle with evidence and two runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from measure.test_compare import QUICK, Scenes
from measure.tiny import tiny_bundle

from artoolkit.bundle import Bundle, write_bundle
from artoolkit.cli import main
from artoolkit.errors import BundleError, DataError
from artoolkit.measure.compare import Settings, compare_bundles
from artoolkit.measure.records import read_record
from artoolkit.report.content import ReportContent
from artoolkit.report.page import as_html, as_markdown, gather


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


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A bundle that carries its baseline and evidence, an AR run and its control."""
    folder = tmp_path_factory.mktemp("report")
    baseline, other = tiny_bundle(folder / "baseline"), tiny_bundle(folder / "b", seed=1)
    golden, manifest = other.golden(), other.manifest
    candidate = write_bundle(
        folder / "candidate",
        model=other.model,
        golden_images=golden["images"],
        golden_labels=golden["labels"],
        network="tiny <&> network",
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        target=manifest.target,
        trained=manifest.trained,
        provenance={},
        baseline=baseline.path,
    )
    inner = candidate.baseline
    assert isinstance(inner, Bundle)
    settings = Settings(plan=QUICK, process_memory=False, dataset=Scenes())
    compare_bundles(candidate, inner, settings)
    runs = write_run(folder / "ar", weight=1), write_run(folder / "control", weight=0)
    return candidate.path, *runs


@pytest.fixture(scope="module")
def content(paths: tuple[Path, Path, Path]) -> ReportContent:
    return gather(paths, dataset=Scenes(), images=2)


class Page(HTMLParser):
    """What a page holds: tags, attributes that can load something, and images without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.wordless = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.loads += [str(values[key]) for key in ("src", "href", "xlink:href") if key in values]
        self.wordless += tag == "img" and not values.get("alt")
        self.wordless += tag == "svg" and not values.get("aria-label")


def test_the_page_loads_nothing_and_runs_nothing(content: ReportContent) -> None:
    html = as_html(content)
    page = Page(html)
    assert all(one.startswith(("data:", "#")) for one in page.loads), page.loads
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import", html)
    assert len(html) < 3e6


def test_every_picture_has_words_and_every_figure_a_table(content: ReportContent) -> None:
    page = Page(as_html(content))
    assert page.wordless == 0
    assert page.tags.count("svg") == 4
    assert page.tags.count("table") == page.tags.count("caption") >= 7
    assert page.tags.count("img") == 2 * 5 + 3  # two images, and one with its affinity maps


def test_the_verdict_comes_first_and_text_is_escaped(content: ReportContent) -> None:
    html = as_html(content)
    verdict = content.bundles[0].verdict
    assert verdict is not None
    assert html.index(verdict.meaning[:30]) < html.index("training-only parts")
    assert html.index("training-only parts") < html.index("<svg")
    assert "tiny &lt;&amp;&gt; network" in html
    assert "network <&>" not in html


def test_figures_take_the_colours_of_the_page(content: ReportContent) -> None:
    html = as_html(content)
    assert "var(--ink)" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert not re.search(r"#0[1-5]0[1-5]0[1-5]\b", html)


def test_readings_are_made_again_from_the_measurements(content: ReportContent) -> None:
    part = content.bundles[0]
    assert part.verdict is not None
    assert part.latency is not None
    assert part.accuracy is not None
    checks = {check.name: check for check in part.verdict.checks}
    assert checks["latency"].numbers == part.latency.reading.model_dump(mode="json")
    estimate = checks["accuracy"].numbers["difference_points"]["estimate"]
    assert part.accuracy.difference_points.estimate == pytest.approx(estimate)
    assert len(part.samples) == 2
    assert list(part.samples[0].pictures) == [
        "image", "ground truth", "baseline", "candidate", "where they differ"
    ]  # fmt: skip


def test_runs_have_curves_and_only_ar_has_a_trend(content: ReportContent) -> None:
    by_name = {run.name: run for run in content.runs}
    assert set(by_name["ar"].curves) == {"cross_entropy", "affinity_regression", "mIoU"}
    assert set(by_name["control"].curves) == {"cross_entropy", "mIoU"}
    assert by_name["control"].trend is None
    trend = by_name["ar"].trend
    assert trend is not None
    assert trend.slope == pytest.approx(-1.0, abs=0.3)
    assert by_name["ar"].last_miou == 50
    assert "Successive iterations are correlated" in as_html(content)


def test_json_is_the_source(content: ReportContent, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content.to_bytes())
    again = read_record(path, ReportContent)
    assert again == content
    assert as_html(again) == as_html(content)


def test_markdown_has_the_checks(content: ReportContent) -> None:
    text = as_markdown(content)
    assert text.startswith("### candidate: ")
    assert "| plan (not required) | PASS |" in text
    assert "| control | 50.00 |" in text


def test_a_bundle_without_evidence_says_what_to_do(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bare")
    content = gather([bundle.path])
    assert "artoolkit compare" in content.bundles[0].notes[0]
    assert "No verdict yet" in as_markdown(content)
    assert "artoolkit compare" in as_html(content)


def test_changed_evidence_and_an_empty_run_are_refused(
    paths: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(paths[0], changed)
    latency = changed / "evidence" / "latency.json"
    latency.write_bytes(latency.read_bytes().replace(b'"pair": 0', b'"pair": 8', 1))
    with pytest.raises(BundleError, match=r"latency\.json was changed"):
        gather([changed])
    empty = tmp_path / "run"
    empty.mkdir()
    (empty / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no iteration"):
        gather([empty])
    (empty / "metrics.jsonl").write_text("no json\n{}\n")
    with pytest.raises(DataError, match="line 1, is not JSON"):
        gather([empty])


def test_the_command_writes_all_three_forms(paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = [tmp_path / f"r.{kind}" for kind in ("html", "json", "md")]
    arguments = ["report", *map(str, paths), "--out", str(out[0]), "--json", str(out[1])]
    result = CliRunner().invoke(main, [*arguments, "--markdown", str(out[2]), "--images", "1"])
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_size > 100 for path in out)
    missing = CliRunner().invoke(main, ["report", "nowhere", "--out", "x.html"])
    assert missing.exit_code == 2


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_error_or_request(
    content: ReportContent, tmp_path: Path, width: int
) -> None:
    page, log = tmp_path / "report.html", tmp_path / "net.json"
    page.write_text(as_html(content))
    shot = tmp_path / "shot.png"
    run = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000",
            f"--log-net-log={log}", f"--screenshot={shot}", "--disable-background-networking",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in run.stderr
    assert shot.stat().st_size > 20_000
    requested = set(re.findall(r'"url":"(https?://[^"]+)"', log.read_text()))
    # What the browser asks for on its own account is not the page's.
    assert not {u for u in requested if "google" not in u and "gvt1" not in u}
