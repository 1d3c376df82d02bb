"""Tampering with a bundle: files changed, and verdicts rewritten with every hash put right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import numpy_helper

from artoolkit.checks.verify import verify
from artoolkit.evidence.bundle import INDEX, Bundle
from artoolkit.evidence.seal import file_sha256, read_sealed, write_sealed
from artoolkit.evidence.verdict import Check, meaning, overall


def failures(bundle: Bundle) -> str:
    found = verify(bundle.path).checks
    texts = [(c.headline, *c.details) for c in found if c.result == "FAIL"]
    return "; ".join(text for one in texts for text in one)


def rewrite(bundle: Bundle, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed record and put its seal and the index right, as a forger would."""
    path, index = bundle.proofs[0] / name, bundle.proofs[0] / INDEX
    values = read_sealed(path)
    change(values)
    write_sealed(path, values)
    listed = read_sealed(index)
    listed["files"][name] = file_sha256(path)
    write_sealed(index, listed)


def one_weight(bundle: Bundle) -> None:
    model = onnx.load(bundle.model)
    (tensor,) = [t for t in model.graph.initializer if t.name == "conv.weight"]
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] += 1e-3
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, bundle.model)


def one_image(bundle: Bundle) -> None:
    arrays = bundle.golden()
    arrays["images"][2, 0, 0, 0] ^= 1
    np.savez_compressed(bundle.path / "golden.npz", **arrays)


def edited(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def one_number(bundle: Bundle) -> None:
    path = bundle.proofs[0] / "latency.json"
    sample = read_sealed(path)["blocks"][0]["samples_ms"][0]
    edited(path, str(sample).encode(), str(sample + 1).encode())


def the_verdict(bundle: Bundle) -> None:
    path = bundle.proofs[0] / "verdict.json"
    edited(path, f'"result": "{read_sealed(path)["result"]}"'.encode(), b'"result": "PERFECT"')


def the_manifest(bundle: Bundle) -> None:
    edited(bundle.path / "manifest.json", b'"network": "tiny"', b'"network": "tidy"')


def the_sidecar(bundle: Bundle) -> None:
    edited(bundle.engines / "engine.json", b'"gpu": "Orin,', b'"gpu": "Thor,')


def the_plan(bundle: Bundle) -> None:
    edited(bundle.engines / "engine.plan", b"native", b"notive")


def the_baselines_model(bundle: Bundle) -> None:
    path = bundle.path / "baseline" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")


FORGED = Check(name="accuracy", result="UNAVAILABLE", headline="no data set was given")


def row(values: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [check for check in values["checks"] if check["name"] == name]
    return cast(dict[str, Any], found)


def settled(values: dict[str, Any]) -> None:
    """What follows from the checks, put right."""
    checks = [Check.model_validate(check) for check in values["checks"]]
    values |= {"result": overall(checks), "meaning": meaning(checks)}


def not_required(values: dict[str, Any]) -> None:
    row(values, "latency")["required"] = False


def deleted(values: dict[str, Any]) -> None:
    values["checks"].remove(row(values, "latency"))


def called_unavailable(values: dict[str, Any]) -> None:
    row(values, "accuracy").update(FORGED.model_dump(mode="json"))


def generous(values: dict[str, Any]) -> None:
    values["target"]["margins"]["accuracy_points"] = 50.0


def another_target(values: dict[str, Any]) -> None:
    values["target"] |= {"name": "orin", "imgsz": [512, 512]}


def another_baseline(values: dict[str, Any]) -> None:
    values["baseline"]["sha256"] = "1" * 64


def another_word(values: dict[str, Any]) -> None:
    row(values, "graph")["headline"] = "identical, with 1 trained parameter fewer"


def twice(values: dict[str, Any]) -> None:
    values["checks"].append(row(values, "graph"))


def redated(bundle: Bundle) -> None:
    """An older answer shown as the newest one."""
    proof = bundle.proofs[0]
    proof.rename(proof.with_name(f"20990101T000000Z{proof.name[16:]}"))


def dated_by_hand(values: dict[str, Any]) -> None:
    values["created"] = "2020-01-01T00:00:00+00:00"


def engine_gone(bundle: Bundle) -> None:
    (bundle.engines / "engine.plan").unlink()
    (bundle.engines / "engine.json").unlink()


def another_engine(bundle: Bundle) -> None:
    """With a sidecar that fits it."""
    plan, sidecar = bundle.engines / "engine.plan", bundle.engines / "engine.json"
    plan.write_bytes(b"another native code")
    fits = {"plan_sha256": file_sha256(plan), "plan_bytes": plan.stat().st_size}
    write_sealed(sidecar, read_sealed(sidecar) | fits)


def unlisted(bundle: Bundle) -> None:
    (bundle.path / "baseline" / "notes.txt").write_bytes(b"?")


def a_link(bundle: Bundle) -> None:
    model = bundle.path / "baseline" / "model.onnx"
    model.rename(bundle.path.parent / "outside.onnx")
    model.symlink_to(bundle.path.parent / "outside.onnx")


# What was changed, and what an answer has to name.
FILES = [
    (one_weight, ["bundle/model.onnx was changed", "(in conv.weight)"]),
    (one_image, ["bundle/golden.npz was changed", "(in images[2])"]),
    (one_number, ["/latency.json was changed"]),
    (the_verdict, ["/verdict.json was changed"]),
    (the_manifest, ["bundle/manifest.json was changed"]),
    (the_sidecar, ["engines/engine.json was changed"]),
    (the_plan, ["engines/engine.plan was changed"]),
    (the_baselines_model, ["baseline/model.onnx was changed"]),
]
FORGED_VERDICTS = [
    (not_required, "latency: the manifest calls it required"),
    (deleted, "latency: the verdict has no answer"),
    (called_unavailable, "accuracy: "),
    (generous, "margins is "),
    (another_target, "imgsz is (512, 512) in the verdict's target"),
    (another_baseline, "against another baseline than the bundle carries"),
    (another_word, "graph: its words are not those measured again"),
    (twice, "answers a check twice"),
    (dated_by_hand, "has another date than the verdict in it (2020-"),
]
