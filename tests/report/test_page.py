"""The page: complete, self-contained, accessible; from a bundle with evidence and two runs."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from judged import Scenes
from PIL import Image
from tiny import LABELS, tiny_bundle

from artoolkit.cli import main, run
from artoolkit.data import spread
from artoolkit.errors import BundleError, DataError
from artoolkit.evaluation.opening import predict
from artoolkit.evidence.bundle import open_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import write_sealed
from artoolkit.report.content import ReportContent
from artoolkit.report.evidence import histogram
from artoolkit.report.markdown import as_markdown
from artoolkit.report.page import as_html, gather
from artoolkit.report.schema import write_schemas
from artoolkit.report.tables import cards, chain_rows


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


def test_the_page_loads_nothing_and_runs_nothing(html: str) -> None:
    page = Page(html)
    paper = "https://arxiv.org/abs/2103.04990"  # A link, which nobody follows but the reader.
    assert all(one.startswith(("data:", "#")) for one in page.loads if one != paper), page.loads
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import", html)
    assert len(html) < 3e6


def test_every_picture_has_words_and_every_figure_a_table(html: str) -> None:
    page = Page(html)
    assert page.wordless == 0
    assert page.tags.count("svg") == 3 + 1 + 2 + 3  # latency, memory, accuracy, curves
    # Checks, four figures, three images, trend, chain.
    assert page.tags.count("table") == page.tags.count("caption") == 1 + 4 + 3 + 1 + 1
    assert page.tags.count("img") == 2 * 5 + 3  # two images, and one with its affinity maps


def test_the_verdict_comes_first_and_text_is_escaped(content: ReportContent, html: str) -> None:
    verdict = content.bundles[0].verdict
    assert verdict is not None
    assert html.index(verdict.meaning[:30]) < html.index("training-only parts")
    assert html.index("training-only parts") < html.index("<svg")
    assert "tiny &lt;&amp;&gt; network" in html
    assert "network <&>" not in html


def test_figures_take_the_colors_of_the_page(html: str) -> None:
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


def test_the_labels_shown_are_those_of_predict_bit_for_bit(
    content: ReportContent, paths: tuple[Path, ...]
) -> None:
    scenes, part = Scenes(), content.bundles[0]
    samples = spread(scenes.samples("val"), 2)
    predicted = predict(open_bundle(paths[0]), [scenes.read_image(one) for one in samples])
    for row, labels in zip(part.samples, predicted, strict=True):
        png = base64.b64decode(row.pictures["candidate"].uri.partition(",")[2])
        shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        np.testing.assert_array_equal(shown, LABELS.colorize(labels))


def test_runs_have_curves_and_only_ar_has_a_trend(content: ReportContent, html: str) -> None:
    by_name = {run.name: run for run in content.runs}
    assert set(by_name["ar"].curves) == {"cross_entropy", "affinity_regression", "mIoU"}
    assert set(by_name["control"].curves) == {"cross_entropy", "mIoU"}
    assert by_name["control"].trend is None
    trend = by_name["ar"].trend
    assert trend is not None
    assert trend.slope == pytest.approx(-1.0, abs=0.3)
    assert by_name["ar"].last_miou == 50
    assert "Warning: successive iterations are correlated" in html
    assert "Table 2 of the paper" in html


def test_json_is_the_source(content: ReportContent, html: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content.to_bytes())
    again = read_record(path, ReportContent)
    assert again == content
    assert as_html(again) == html


def test_markdown_has_the_checks(content: ReportContent) -> None:
    text = as_markdown(content)
    assert text.startswith("### bundle: ")
    assert "| program (TensorRT-RTX) (not required) | UNAVAILABLE |" in text
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
    (latency,) = changed.glob("evidence/*/latency.json")
    latency.write_bytes(latency.read_bytes().replace(b'"pair": 0', b'"pair": 8', 1))
    with pytest.raises(BundleError, match=r"latency\.json was changed"):
        gather([changed])
    empty = tmp_path / "run"
    empty.mkdir()
    (empty / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no iteration"):
        gather([empty])
    (empty / "metrics.jsonl").write_text("no json\n{}\n")
    with pytest.raises(DataError, match=r"line 1 of .*metrics\.jsonl cannot be read"):
        gather([empty])


def test_the_command_writes_all_three_forms(paths: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = [tmp_path / f"r.{kind}" for kind in ("html", "json", "md")]
    arguments = ["report", *map(str, paths), "--out", str(out[0]), "--json", str(out[1])]
    result = CliRunner().invoke(main, [*arguments, "--markdown", str(out[2]), "--images", "1"])
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_size > 100 for path in out)
    again = tmp_path / "again.html"
    result = CliRunner().invoke(main, ["report", str(out[1]), "--out", str(again)])
    assert result.exit_code == 0, result.output
    assert again.read_bytes() == out[0].read_bytes()
    mixed = ["report", str(out[1]), str(paths[0]), "--out", str(again)]
    assert CliRunner().invoke(main, mixed).exit_code == 2
    missing = CliRunner().invoke(main, ["report", "nowhere", "--out", "x.html"])
    assert missing.exit_code == 2


def test_the_json_keeps_to_its_schema(content: ReportContent, tmp_path: Path) -> None:
    written = {path.stem: json.loads(path.read_bytes()) for path in write_schemas(tmp_path / "s")}
    assert set(written) == {path.stem for path in (tmp_path / "s").iterdir()} > {"verdict-2"}
    validator = jsonschema.Draft202012Validator(written["report-2"])
    values = json.loads(content.to_bytes())
    assert [error.message for error in validator.iter_errors(values)] == []
    assert list(validator.iter_errors(values | {"schema_version": "0"}))


def test_another_version_of_the_json_is_refused_by_name(
    content: ReportContent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    write_sealed(old, content.model_dump(mode="json") | {"schema_version": "0"})
    assert run(["report", str(old), "--out", str(tmp_path / "x.html")]) == 6
    assert "report record of another schema version; got 0; expected 2" in capsys.readouterr().err


def test_the_numbers_of_pictures_stand_beside_them(content: ReportContent, html: str) -> None:
    part = content.bundles[0]
    row, maps = part.samples[0], part.affinity[0]
    for who in ("truth", "baseline", "candidate"):
        assert sum(getattr(one, who) for one in row.classes) == pytest.approx(100)
    assert row.right_percent is not None
    assert 0 < min(row.right_percent) <= max(row.right_percent) < 100
    assert (maps.same["labels"], maps.other["labels"]) == (1, 0)
    assert set(maps.losses) == {"baseline", "candidate"}
    assert f"{maps.same['candidate']:.4f}" in html
    assert "Colors of the classes" in html


def test_every_inference_is_counted(content: ReportContent) -> None:
    latency = content.bundles[0].latency
    assert latency is not None
    counts = latency.inferences
    blocks = len(latency.baseline_ms)
    for arm, beyond in ((counts.baseline, counts.beyond[0]), (counts.candidate, counts.beyond[1])):
        assert sum(arm) + beyond == blocks * 2  # two inferences a block
    assert len(counts.edges_ms) == len(counts.baseline) + 1


def test_equal_inferences_have_a_histogram_too() -> None:
    same = np.full(10, 3.0)
    found = histogram(same, same)
    assert sum(found.baseline) == 10
    assert found.beyond == (0, 0)


def test_the_chain_is_on_the_page(content: ReportContent, html: str) -> None:
    part = content.bundles[0]
    chain = dict(chain_rows(part))
    assert part.verdict is not None
    assert chain["manifest"] == part.manifest["sha256"] == part.verdict.candidate.sha256
    assert chain["latency.json"] == part.verdict.measurements["latency.json"]
    assert chain["verdict.json"] == part.verdict.sha256()
    assert chain["engine engine.plan"] == part.engines["engine.plan"]
    assert part.fingerprint in chain.values()
    assert chain["commit of artoolkit"] == "0" * 40
    assert chain["checkpoint"] == "1" * 64
    assert chain["checkpoint that was fine-tuned"] == "2" * 64
    assert chain["images and labels: train"] == "3" * 64
    assert all(sha256 in html for sha256 in chain.values())


def test_the_committed_example_is_such_a_page_and_small() -> None:
    text = (Path(__file__).parents[2] / "docs" / "example-report.html").read_text()
    page = Page(text)
    assert len(text) < 3e6
    assert all(one.startswith(("data:", "#", "https://arxiv.org/abs/")) for one in page.loads)
    assert page.wordless == 0
    for part in ("All inferences", "Figure 2", "Figure 3", "Figure 4", "Table 2"):
        assert part in text


def test_memory_that_moved_from_one_component_to_another_is_not_called_equal(
    content: ReportContent,
) -> None:
    part = content.bundles[0]
    assert part.memory is not None
    moved = {"weights_bytes": (10, 20), "activations_bytes": (20, 10)}
    memory = part.memory.model_copy(update={"components": moved})
    (card,) = (c for c in cards(part.model_copy(update={"memory": memory})) if c.name == "memory")
    assert "equal" not in card.words


@pytest.mark.parametrize(
    ("result", "value"),
    [("PASS", "the same"), ("FAIL", "another"), ("UNAVAILABLE", "not compared")],
)
def test_a_program_that_nobody_compared_is_not_called_another(
    content: ReportContent, result: str, value: str
) -> None:
    part = content.bundles[0]
    assert part.verdict is not None
    checks = [c.model_copy(update={"result": result}) if c.name == "graph" else c
              for c in part.verdict.checks]  # fmt: skip
    verdict = part.verdict.model_copy(update={"checks": tuple(checks)})
    shown = {card.name: card for card in cards(part.model_copy(update={"verdict": verdict}))}
    assert shown["program"].value == value
