"""Signing: what is signed, with which key, and every way in which it does not hold."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization as serial
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sidecars import write_plan

from artoolkit.checks.verify import verify
from artoolkit.cli import main, run
from artoolkit.errors import BundleError, UsageError
from artoolkit.evidence.bundle import SIGNATURE, Bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.keys import key_id, new_key, read_private_key, read_public_key
from artoolkit.evidence.seal import file_sha256, write_sealed
from artoolkit.evidence.signature import (
    check_signature,
    note_signature,
    read_signature,
    sign_bundle,
)


def no_passphrase() -> str:
    raise AssertionError("the key is not encrypted")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_key(tmp_path / "release.key")
    return tmp_path / "release.key"


@pytest.fixture
def signed(baseline: Bundle, key: Path) -> Bundle:
    baseline.add_proof({"notes.json": b"{}"}, "machine")
    write_plan(baseline)
    sign_bundle(baseline.path, read_private_key(key, passphrase=no_passphrase))
    return baseline


def public(key: Path) -> ed25519.Ed25519PublicKey:
    return read_public_key(key.with_name(f"{key.name}.pub"))


def answer(bundle: Bundle, key: Path) -> tuple[str, str]:
    check = check_signature(bundle.path, public(key))
    return check.result, " ".join(check.details or (check.headline,))


def test_a_signed_bundle_is_whole_and_its_signature_holds(signed: Bundle, key: Path) -> None:
    assert file_problems(signed.path) == []
    result, words = answer(signed, key)
    assert result == "PASS", words
    files = read_signature(signed.path).statement.files()
    present = {p.relative_to(signed.path).as_posix() for p in signed.path.rglob("*") if p.is_file()}
    assert files.keys() == present - {SIGNATURE}
    assert files["model.onnx"] == signed.manifest.files["model.onnx"]
    assert {"manifest.json", "engines/engine.plan", "engines/engine.json"} <= files.keys()


def test_the_private_key_is_its_owners_alone_and_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="never overwritten"):
        new_key(key)
    key.unlink()
    with pytest.raises(UsageError, match=r"release\.key\.pub exists"):
        new_key(key)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "MODEL.ONNX"])
def test_a_signed_manifest_cannot_list_what_lies_elsewhere(
    signed: Bundle, key: Path, name: str
) -> None:
    values = json.loads((signed.path / "manifest.json").read_text())
    values["files"][name] = "0" * 64
    write_sealed(signed.path / "manifest.json", values)
    (problem, *_) = file_problems(signed.path)
    assert "a bundle has the files model.onnx and golden.npz" in problem
    assert "manifest.json" in answer(signed, key)[1]


def test_weights_outside_of_a_signed_model_are_named(signed: Bundle, key: Path) -> None:
    onnx.save_model(
        onnx.load(signed.model), str(signed.model), save_as_external_data=True, location="w.bin",
        size_threshold=0, convert_attribute=False,
    )  # fmt: skip
    found = " ".join(file_problems(signed.path))
    assert "w.bin" in found
    result, words = answer(signed, key)
    assert (result, "model.onnx" in words) == ("FAIL", True)


def test_another_key_did_not_sign_it(signed: Bundle, tmp_path: Path) -> None:
    new_key(tmp_path / "other.key")
    result, words = answer(signed, tmp_path / "other.key")
    assert result == "FAIL"
    assert "signed with another key" in words


def test_no_signature_and_a_damaged_one(baseline: Bundle, signed: Bundle, key: Path) -> None:
    path = signed.path / SIGNATURE
    path.write_bytes(path.read_bytes()[:-20])
    assert "signature.json cannot be read" in answer(signed, key)[1]
    path.unlink()
    result, words = answer(signed, key)
    assert result == "FAIL"
    assert "is not signed" in words
    assert note_signature(signed.path).headline == "not signed"


def envelope_of(bundle: Bundle) -> tuple[dict[str, Any], dict[str, Any]]:
    """The envelope and the statement in it, as JSON."""
    envelope = json.loads((bundle.path / SIGNATURE).read_bytes())
    return envelope, json.loads(base64.b64decode(envelope["payload"]))


def forge(bundle: Bundle, statement: dict[str, Any] | None = None, **changes: Any) -> None:
    """The envelope with other values, or another statement, and the old signature."""
    envelope, _ = envelope_of(bundle)
    if statement is not None:
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (bundle.path / SIGNATURE).write_text(json.dumps(envelope | changes))


def test_a_statement_that_the_key_did_not_sign(signed: Bundle, key: Path) -> None:
    _, statement = envelope_of(signed)
    (signed.engines / "engine.plan").write_bytes(b"other code")
    for subject in statement["subject"]:
        if subject["name"] == "engines/engine.plan":
            subject["digest"]["sha256"] = file_sha256(signed.engines / "engine.plan")
    forge(signed, statement)
    assert "did not sign its statement" in answer(signed, key)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"payloadType": "application/json"},
        {"payload": "§"},
        {"payload": base64.b64encode(b"[1, NaN]").decode()},
        {"signatures": []},
        {"signatures": [{"keyid": "", "sig": "§"}]},
        {"signatures": [{"keyid": 3, "sig": ""}]},
        {"payload": None},
    ],
)
def test_an_envelope_of_anything_is_refused(signed: Bundle, changes: dict[str, Any]) -> None:
    forge(signed, **changes)
    with pytest.raises(BundleError, match=r"signature\.json"):
        read_signature(signed.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": [{"name": "model.onnx"}]},
        {"predicate": {}},
        {"predicate": {"created": "yesterday"}},
        {"predicate": {"created": "2026-11-28T10:00:00+00:00", "expires": "2026-11-29T10:00:00"}},
    ],
)
def test_another_statement_is_not_taken_for_ours(signed: Bundle, changes: dict[str, Any]) -> None:
    _, statement = envelope_of(signed)
    forge(signed, statement | changes)
    with pytest.raises(BundleError, match="is not valid"):
        read_signature(signed.path)


def test_a_signature_of_the_first_version_is_refused_by_name(signed: Bundle) -> None:
    write_sealed(signed.path / SIGNATURE, {"schema_version": "1", "algorithm": "Ed25519"})
    with pytest.raises(BundleError, match=r"of an earlier artoolkit\. Sign the bundle again"):
        read_signature(signed.path)


@pytest.mark.parametrize(
    "name", ["model.onnx", "golden.npz", "manifest.json", "engines/engine.plan",
             "engines/engine.json", "evidence/*/notes.json", "evidence/*/index.json"]
)  # fmt: skip
def test_one_byte_of_any_file_ends_the_signature(signed: Bundle, key: Path, name: str) -> None:
    (path,) = signed.path.glob(name)
    name = path.relative_to(signed.path).as_posix()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result, words = answer(signed, key)
    assert result == "FAIL"
    assert f"{name} was changed after it was signed" in words
    path.unlink()
    assert f"{name} has gone since it was signed" in answer(signed, key)[1]


def test_what_a_device_adds_is_named_and_anything_else_fails(signed: Bundle, key: Path) -> None:
    write_plan(signed, name="later")
    result, words = answer(signed, key)
    assert result == "PASS"
    assert "not signed, added later: engines/later.json, engines/later.plan" in words
    (signed.path / "notes.txt").write_text("x")
    result, words = answer(signed, key)
    assert result == "FAIL"
    assert "notes.txt was added after it was signed" in words


def test_an_expired_signature_fails(baseline: Bundle, key: Path) -> None:
    private = read_private_key(key, passphrase=no_passphrase)
    now = datetime.now(timezone.utc)
    sign_bundle(baseline.path, private, expires=now + timedelta(days=1))
    assert answer(baseline, key)[0] == "PASS"
    sign_bundle(baseline.path, private, expires=now - timedelta(days=1))
    result, words = answer(baseline, key)
    assert result == "FAIL"
    assert "the signature expired" in words


def test_the_envelope_verifies_with_a_public_implementation(signed: Bundle, key: Path) -> None:
    """And the statement is one that in-toto's own types accept."""
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    envelope, statement = envelope_of(signed)
    theirs = Envelope.from_dict(copy.deepcopy(envelope))
    known = SSlibKey.from_crypto(public(key), keyid=key_id(public(key)))
    assert theirs.verify([known], 1)
    assert theirs.payload == base64.b64decode(envelope["payload"])
    new_key(key.with_name("other"))
    with pytest.raises(VerificationError):
        theirs.verify([SSlibKey.from_crypto(public(key.with_name("other")), keyid="x")], 1)
    parsed = json_format.ParseDict(statement, statement_pb2.Statement())
    assert parsed.type == "https://in-toto.io/Statement/v1"
    assert {s.name: dict(s.digest)["sha256"] for s in parsed.subject} == read_signature(
        signed.path
    ).statement.files()


def test_a_broken_bundle_is_not_signed(baseline: Bundle, key: Path) -> None:
    baseline.model.write_bytes(b"other")
    private = read_private_key(key, passphrase=no_passphrase)
    with pytest.raises(BundleError, match=r"model\.onnx was changed.*Only a whole bundle"):
        sign_bundle(baseline.path, private)
    assert not (baseline.path / SIGNATURE).exists()


def test_without_a_key_a_signature_is_shown_and_decides_nothing(
    baseline: Bundle, key: Path
) -> None:
    sign_bundle(baseline.path, read_private_key(key, passphrase=no_passphrase))
    checks = {check.name: check for check in verify(baseline.path).checks}
    assert checks["signature"].result == "UNAVAILABLE"
    assert not checks["signature"].required
    assert checks["golden replay"].result == "PASS"


def private_bytes(key: object, *, passphrase: bytes | None = None) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined]
        serial.Encoding.PEM,
        serial.PrivateFormat.PKCS8,
        serial.BestAvailableEncryption(passphrase) if passphrase else serial.NoEncryption(),
    )


def test_a_passphrase_is_asked_for_only_where_there_is_one(tmp_path: Path) -> None:
    path, key = tmp_path / "k", ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(private_bytes(key, passphrase=b"open"))
    found = read_private_key(path, passphrase=lambda: "open")
    assert found.private_bytes_raw() == key.private_bytes_raw()
    with pytest.raises(UsageError, match="its passphrase is another"):
        read_private_key(path, passphrase=lambda: "wrong")


def test_keys_of_openssh_are_read_too(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    private, line = tmp_path / "id", tmp_path / "id.pub"
    private.write_bytes(
        key.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.OpenSSH, serial.NoEncryption())
    )
    line.write_bytes(
        key.public_key().public_bytes(serial.Encoding.OpenSSH, serial.PublicFormat.OpenSSH)
    )
    found = read_private_key(private, passphrase=no_passphrase)
    assert found.public_key().public_bytes_raw() == read_public_key(line).public_bytes_raw()


def test_files_that_are_no_such_key(tmp_path: Path, key: Path) -> None:
    other, text = tmp_path / "ec.key", tmp_path / "text"
    other.write_bytes(private_bytes(ec.generate_private_key(ec.SECP256R1())))
    text.write_text("no key")
    with pytest.raises(UsageError, match="another kind of key"):
        read_private_key(other, passphrase=no_passphrase)
    with pytest.raises(UsageError, match="is a public key; expected the private one"):
        read_private_key(key.with_name("release.key.pub"), passphrase=no_passphrase)
    with pytest.raises(UsageError, match=r"is a private key; expected the public one \(rel"):
        read_public_key(key)
    with pytest.raises(UsageError, match="not a public key in PEM"):
        read_public_key(text)
    with pytest.raises(UsageError, match=r"no key at.*--new-key"):
        read_public_key(tmp_path / "nowhere")


def test_the_commands_from_key_to_answer(candidate: Bundle, tmp_path: Path) -> None:
    bundle, key = str(candidate.path), str(tmp_path / "keys" / "release.key")
    assert run(["sign", "--new-key", key]) == 0
    assert run(["verify", bundle, "--require-signature", f"{key}.pub"]) == 1
    assert run(["sign", bundle, "--key", key]) == 0
    shown = CliRunner().invoke(main, ["verify", bundle, "--require-signature", f"{key}.pub"])
    assert shown.exit_code == 0, shown.output
    assert "signature" in shown.output
    assert run(["verify", bundle, "--require-signature", key]) == 2
    assert run(["sign", bundle]) == 2
    assert run(["sign", bundle, "--new-key", key]) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_the_keys_that_openssl_makes(candidate: Bundle, tmp_path: Path) -> None:
    key = tmp_path / "k.key"
    for command in (
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)],
        ["openssl", "pkey", "-in", str(key), "-pubout", "-out", f"{key}.pub"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    sign_bundle(candidate.path, read_private_key(key, passphrase=no_passphrase))
    assert answer(candidate, key)[0] == "PASS"


def test_without_the_library_it_says_what_to_install(
    candidate: Bundle,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert run(["verify", str(candidate.path)]) == 0
    assert run(["verify", str(candidate.path), "--require-signature", f"{key}.pub"]) == 8
    assert run(["sign", str(candidate.path), "--key", str(key)]) == 8
    lines = capsys.readouterr().err.strip().splitlines()
    assert all('pip install "artoolkit[sign]"' in line for line in lines[-2:])
