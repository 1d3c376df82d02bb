"""Whatever is changed in a bundle, and every hash put right: `verify` fails and names it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from judged import Copies, judged_bundle
from tampering import (
    FILES,
    FORGED_VERDICTS,
    a_link,
    another_engine,
    engine_gone,
    failures,
    redated,
    rewrite,
    row,
    settled,
    unlisted,
)
from tiny import tiny_bundle

from artoolkit.checks.verify import verify
from artoolkit.cli import main
from artoolkit.evidence.bundle import INDEX, Bundle
from artoolkit.evidence.keys import new_key, read_private_key, read_public_key
from artoolkit.evidence.seal import read_sealed, write_sealed
from artoolkit.evidence.signature import check_signature, read_signature, sign_bundle


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(judged_bundle(tmp_path_factory.mktemp("judged")).path)


@pytest.fixture
def bundle(copies: Copies, tmp_path: Path) -> Bundle:
    return copies.new(tmp_path)


@pytest.mark.parametrize(
    ("tamper", "names"),
    FILES,
)
def test_what_was_replaced_is_named(
    bundle: Bundle, tamper: Callable[[Bundle], None], names: list[str]
) -> None:
    tamper(bundle)
    shown = CliRunner().invoke(main, ["verify", str(bundle.path), "--json"])
    assert shown.exit_code == 1
    rows = [check["name"] for check in json.loads(shown.output)]
    assert rows == ["files", "signature"], "a bundle that is not whole is not run"
    found = failures(bundle)
    assert all(name in found for name in names), found


@pytest.mark.parametrize(
    ("forge", "named"),
    FORGED_VERDICTS,
)
def test_a_forged_verdict_is_refused(
    bundle: Bundle, forge: Callable[[dict[str, Any]], None], named: str
) -> None:
    def change(values: dict[str, Any]) -> None:
        forge(values)
        settled(values)

    rewrite(bundle, "verdict.json", change)
    assert named in failures(bundle)


def replaced(bundle: Bundle, name: str, record: Mapping[str, Any]) -> None:
    """Another record in the place of one, with the verdict's hash put right."""
    rewrite(bundle, name, lambda values: (values.clear(), values.update(record)))
    sha256 = read_sealed(bundle.proofs[0] / name)["sha256"]
    rewrite(bundle, "verdict.json", lambda values: values["measurements"].update({name: sha256}))


def exchanged(bundle: Bundle) -> None:
    names = ("quality-baseline.json", "quality-candidate.json")
    records = [read_sealed(bundle.proofs[0] / name) for name in names]
    for name, record in zip(names, reversed(records), strict=True):
        replaced(bundle, name, record)


def of_another(bundle: Bundle, name: str = "latency.json") -> None:
    other = judged_bundle(bundle.path.parent / "other", network="other")
    replaced(bundle, name, read_sealed(other.proofs[0] / name))


def test_a_verdict_under_another_date_is_refused(bundle: Bundle) -> None:
    redated(bundle)
    assert "20990101T000000Z" in failures(bundle)
    proof = bundle.proofs[0]
    proof.rename(proof.with_name("newest"))
    assert "newest has another date than the verdict in it" in failures(bundle)


def all_of_another(bundle: Bundle) -> None:
    """Verdict and measurements of another bundle, whose index names this one."""
    other = judged_bundle(bundle.path.parent / "other", network="other")
    shutil.rmtree(bundle.evidence)
    shutil.copytree(other.evidence, bundle.evidence)
    index = bundle.proofs[0] / INDEX
    write_sealed(index, read_sealed(index) | {"manifest": bundle.manifest.sha256})


def test_the_whole_evidence_of_another_bundle_is_refused(bundle: Bundle) -> None:
    all_of_another(bundle)
    assert "the verdict is of another bundle" in failures(bundle)


def test_measurements_that_were_exchanged_are_refused(bundle: Bundle) -> None:
    exchanged(bundle)
    assert "accuracy: quality-baseline.json is the measurement of another" in failures(bundle)


@pytest.mark.parametrize("name", ["latency.json", "memory-candidate.json", "program.json"])
def test_the_evidence_of_another_bundle_is_refused(bundle: Bundle, name: str) -> None:
    of_another(bundle, name)
    assert f"{name} is the measurement of another bundle" in failures(bundle)


def invented(values: dict[str, Any]) -> None:
    for name in ("graph", "training-only parts"):
        row(values, name).update(result="PASS", headline="identical", details=[])
    settled(values)


def test_a_graph_answer_invented_for_one_more_node(tmp_path: Path) -> None:
    bundle = judged_bundle(tmp_path, extra_node=True)
    assert not failures(bundle)
    rewrite(bundle, "verdict.json", invented)
    assert "graph: FAIL measured again from both files, and not PASS" in failures(bundle)
    rewrite(
        bundle, "verdict.json", lambda values: row(values, "graph").update(result="UNAVAILABLE")
    )
    assert "graph: FAIL measured again" in failures(bundle)


def weaker_baseline(bundle: Bundle) -> None:
    """Manifest, index and verdict name the weaker network; what was measured is of the other."""
    weaker = tiny_bundle(bundle.path.parent / "weaker", seed=7)
    shutil.rmtree(bundle.path / "baseline")
    shutil.copytree(weaker.path, bundle.path / "baseline")
    manifest = bundle.path / "manifest.json"
    write_sealed(manifest, read_sealed(manifest) | {"baseline": weaker.manifest.sha256})
    now, index = read_sealed(manifest)["sha256"], bundle.proofs[0] / INDEX
    write_sealed(index, read_sealed(index) | {"manifest": now})

    def follow(values: dict[str, Any]) -> None:
        values["baseline"]["sha256"], values["candidate"]["sha256"] = weaker.manifest.sha256, now

    rewrite(bundle, "verdict.json", follow)
    for path in bundle.engines.glob("*.json"):
        write_sealed(path, read_sealed(path) | {"manifest": now})


def test_a_baseline_that_was_replaced_with_every_hash_put_right(bundle: Bundle) -> None:
    weaker_baseline(bundle)
    found = failures(bundle)
    assert "latency.json is the measurement of another bundle" in found
    assert "quality-baseline.json is the measurement of another" in found


def out_of_range(bundle: Bundle, agreement: float = -1) -> None:
    manifest = bundle.path / "manifest.json"
    values = read_sealed(manifest)
    values["target"]["margins"]["label_agreement"] = {"fp32": agreement}
    write_sealed(manifest, values)


@pytest.mark.parametrize("agreement", [-1, 1.5])
def test_a_margin_out_of_its_range_is_refused(bundle: Bundle, agreement: float) -> None:
    out_of_range(bundle, agreement)
    assert re.search(r"manifest\.json is not valid: .*label_agreement", failures(bundle))


@pytest.fixture(scope="module")
def signed(copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> tuple[Copies, Path]:
    """A signed bundle and the public key."""
    folder = tmp_path_factory.mktemp("signed")
    public, bundle = new_key(folder / "k"), copies.new(folder)
    sign_bundle(bundle.path, read_private_key(folder / "k", passphrase=str))
    return Copies(bundle.path), public


@pytest.mark.parametrize(
    ("tamper", "file"),
    [
        *((tamper, names[0].split()[0].rpartition("bundle/")[2]) for tamper, names in FILES),
        *((partial(rewrite, name="verdict.json", change=forge), "/verdict.json was changed")
          for forge, _ in FORGED_VERDICTS),
        (exchanged, "quality-baseline.json was changed"),
        (of_another, "latency.json was changed"),
        (all_of_another, "has gone since it was signed"),
        (redated, "has gone since it was signed"),
        (partial(rewrite, name="verdict.json", change=invented), "/verdict.json was changed"),
        (weaker_baseline, "baseline/model.onnx was changed"),
        (out_of_range, "manifest.json"),
        (engine_gone, "engines/engine.plan has gone"),
        (another_engine, "engines/engine.plan was changed"),
        (unlisted, "baseline/notes.txt"),
        (a_link, "baseline/model.onnx is a link"),
    ],
)  # fmt: skip
def test_no_tampering_passes_a_signature(
    signed: tuple[Copies, Path], tmp_path: Path, tamper: Callable[[Bundle], None], file: str
) -> None:
    bundle = signed[0].new(tmp_path)
    tamper(bundle)
    found = verify(bundle.path, public_key=signed[1])
    assert found.exit_code == 1
    named = "; ".join(text for c in found.checks for text in (c.headline, *c.details))
    assert file in named
    # Whoever verifies without the key learns of it too.
    noted = {check.name: check.result for check in verify(bundle.path).checks}
    assert "FAIL" in (noted["files"], noted["signature"])


def test_one_byte_of_any_subject_ends_the_signature(
    signed: tuple[Copies, Path], tmp_path: Path
) -> None:
    """The first, a middle and the last one; the baseline's files, records and engines too."""
    bundle, key = signed[0].new(tmp_path), read_public_key(signed[1])
    names = read_signature(bundle.path).statement.files()
    assert {name.partition("/")[0] for name in names} == {
        "baseline", "engines", "evidence", "golden.npz", "manifest.json", "model.onnx"
    }  # fmt: skip
    for name in names:
        path = bundle.path / name
        content = path.read_bytes()
        for place in (0, len(content) // 2, -1):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            found = check_signature(bundle.path, key)
            assert found.result == "FAIL" and f"{name} was changed" in str(found), (name, place)
        path.write_bytes(content)
    assert check_signature(bundle.path, key).result == "PASS"
