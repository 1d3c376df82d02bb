"""Graphs, bundles with their records and signatures, and the JSON of a report."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives import serialization as serial
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from judged import judged_bundle
from one_format import Format, command, resealed_json
from tiny import HEIGHT, WIDTH, tiny_bundle, write_tiny

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.openvino.backend import OpenVino
from artoolkit.backends.runner import OpenRunner
from artoolkit.cost.opening import read_feeds
from artoolkit.evidence.delta import write_delta
from artoolkit.evidence.keys import key_id, new_key, read_private_key
from artoolkit.evidence.seal import canonical, file_sha256, write_sealed
from artoolkit.evidence.signature import SIGNATURE, signed_bytes
from artoolkit.graph.identity import compare_graphs, weights_by_rule
from artoolkit.graph.onnx_file import load_onnx


def _rehash(evidence: Path, changed: str) -> Callable[[], None]:
    """Put every hash of a record right, in the verdict and in the index, as a forger does."""
    verdict = json.loads((evidence / "verdict.json").read_bytes())
    index = json.loads((evidence / "index.json").read_bytes())

    def mend() -> None:
        if changed in verdict["measurements"]:
            record = parse(evidence / changed)
            told = {changed: record.get("sha256", "")}
            write_sealed(evidence / "verdict.json",
                         verdict | {"measurements": verdict["measurements"] | told})  # fmt: skip
        if changed != "index.json":
            files = {name: file_sha256(evidence / name) for name in index["files"]}
            write_sealed(evidence / "index.json", index | {"files": files})

    return mend


def parse(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        values = None
    return values if isinstance(values, dict) else {}


def _signed_again(key: Ed25519PrivateKey, content: bytes) -> bytes:
    envelope = json.loads(content)
    signature = key.sign(signed_bytes(base64.b64decode(envelope["payload"])))
    signed = {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
    return canonical(envelope | {"signatures": [signed]})


def _same_graph(one: Path, other: Path) -> int:
    models = [load_onnx(path, "the graph check") for path in (one, other)]
    return len(compare_graphs(*models, *map(weights_by_rule, models))) and 1


def graphs(folder: Path) -> Iterator[Format]:
    """Graphs and inputs for them, without a bundle."""
    inputs, other = folder / "inputs.npz", write_tiny(folder / "other.onnx")
    np.savez(inputs, image=np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    one = write_tiny(folder / "one.onnx", seed=1)
    yield Format("two .onnx", other, "binary", lambda: _same_graph(one, other))
    split = folder / "split.onnx"
    onnx.save(onnx.load(one), split, save_as_external_data=True, location="split.data",
              size_threshold=0)  # fmt: skip
    for path in (split, folder / "split.data"):
        yield Format(f"external data, {path.name}", path, "binary", lambda: _same_graph(one, split))
    with open_onnxruntime(one, threads=1) as runner:
        spec = runner.spec

    def run(opened: OpenRunner) -> None:
        with opened as runner:
            runner.infer({"image": np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)})

    run_one = lambda: run(open_onnxruntime(one, threads=1))  # noqa: E731
    yield Format("ONNX Runtime", one, "binary", run_one)
    yield Format("OpenVINO", one, "binary", lambda: run(OpenVino().open(one, device="cpu")))
    yield Format("inputs.npz", inputs, "zip", lambda: read_feeds(inputs, spec) and None)


def bundles(folder: Path) -> Iterator[Format]:
    """Every file of a bundle, of a signed one too, and the keys."""
    plain = tiny_bundle(folder / "plain").path
    verify = command("verify", plain)
    yield Format("golden.npz", plain / "golden.npz", "zip", verify, sealed=True)
    yield Format("model.onnx", plain / "model.onnx", "binary", verify, sealed=True)
    delta = folder / "delta.npz"
    write_delta(plain, tiny_bundle(folder / "newer", seed=1).path, delta)
    refit = ("refit", plain, delta, "--out", folder / "made", "--overwrite")
    yield Format("delta", delta, "zip", command(*refit))
    bundle = judged_bundle(folder / "signing")
    key = folder / "release.key"
    public = new_key(key)
    signed, (proof,) = bundle.path, bundle.proofs
    assert command("sign", signed, "--key", key)() == 0
    verify = command("verify", signed, "--require-signature", public)
    for path in sorted(signed.rglob("*.json")):
        # The folder of a proof is named by the time.
        name = str(path.relative_to(signed)).replace(f"{proof.name}/", "")
        # An envelope may carry more than what is signed, such as a second signature.
        yield Format(name, path, "json", verify, sealed=name != "signature.json")
    reseal = partial(_signed_again, read_private_key(key, passphrase=str))
    yield Format("statement, signed again", signed / SIGNATURE, "statement", verify, reseal=reseal)
    yield Format("plan", next(signed.glob("engines/*.plan")), "binary", verify, sealed=True)
    yield Format("public key", public, "binary", verify)
    yield Format("private key", key, "binary", command("sign", signed, "--key", key))
    private = read_private_key(key, passphrase=str)
    ssh, line = folder / "id", folder / "id.pub"
    ssh.write_bytes(private.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.OpenSSH,
                                          serial.NoEncryption()))  # fmt: skip
    line.write_bytes(private.public_key().public_bytes(serial.Encoding.OpenSSH,
                                                       serial.PublicFormat.OpenSSH))  # fmt: skip
    yield Format("OpenSSH private key", ssh, "binary", command("sign", signed, "--key", ssh))
    yield Format("OpenSSH public key", line, "binary",
                 command("verify", signed, "--require-signature", line))  # fmt: skip


def forged(folder: Path) -> Iterator[Format]:
    """Records of an unsigned bundle, and a report, whose hashes were put right."""
    bundle = judged_bundle(folder / "judged")
    judged, (proof,) = bundle.path, bundle.proofs
    for path in sorted(judged.rglob("*.json")):
        name = path.name
        if path.parent.name != "baseline":
            yield Format(f"{name}, sealed again", path, "json", command("verify", judged),
                         mend=_rehash(proof, path.name), reseal=resealed_json)  # fmt: skip
    content = folder / "report.json"
    assert command("report", judged, "--out", folder / "r.html", "--json", content)() == 0
    page = command("report", content, "--out", folder / "again.html", "--markdown", folder / "r.md")
    yield Format("report JSON", content, "json", page)
    yield Format("report JSON, sealed again", content, "json", page, reseal=resealed_json)
