"""Who vouches for a bundle: an Ed25519 signature over its manifest, evidence and engines.

Hashes show that nothing was changed by accident; a signature shows that nobody without the key has
changed it on purpose. `signature.json` holds a statement of the hashes at the top of each chain, so
that it covers every file below them. Needs `cryptography`, which only signing and
`verify --require-signature` ask for.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from artoolkit.errors import BundleError, StorageError, UsageError
from artoolkit.evidence.bundle import INDEX, SIGNATURE, Bundle, file_problems, open_bundle
from artoolkit.evidence.engines import engine_files, engine_problems
from artoolkit.evidence.seal import canonical, file_sha256, read_sealed, write_sealed
from artoolkit.evidence.verdict import Check
from artoolkit.files import read_bytes
from artoolkit.optional import require
from artoolkit.spec import Frozen, problems

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MOST_KEY_BYTES = 1 << 16
MAKE_KEY = "Make one with: artoolkit sign --new-key FILE"


class Statement(Frozen):
    """What is signed, by sha256: manifest, index of the evidence (None without), plans by name.

    `purpose` keeps a signature made for something else from being taken for one of a bundle.
    """

    purpose: Literal["artoolkit bundle"]
    manifest: str
    evidence: str | None
    engines: dict[str, str]
    created: str


class Signature(Frozen):
    """`signature.json`: the statement, its Ed25519 signature (RFC 8032) and the key, in base64.

    The signature is over the statement's canonical form (`seal.canonical`). The key in
    here only says which one to look for: whom to trust, the one who verifies has to know.
    """

    schema_version: Literal["1"]
    algorithm: Literal["Ed25519"]
    public_key: str
    statement: Statement
    signature: str
    sha256: str


def _library(purpose: str) -> tuple[Any, Any]:
    require("cryptography", purpose)
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return serialization, ed25519


def new_key(path: Path) -> Path:
    """Write a private key to `path` (PEM, readable by its owner alone); returns the public one's.

    `UsageError` where either file exists: a key that was overwritten is lost.
    """
    serialization, ed25519 = _library("making a key")
    public_path = path.with_name(f"{path.name}.pub")
    for taken in (path, public_path):
        if taken.exists():
            raise UsageError(f"{taken} exists, and a key is never overwritten")
    key: Ed25519PrivateKey = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
        public_path.write_bytes(public)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return public_path


def _key_bytes(path: Path) -> bytes:
    return read_bytes(path, UsageError, what="key", most=MOST_KEY_BYTES, hint=MAKE_KEY)


def read_private_key(path: Path, *, passphrase: Callable[[], str]) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM or OpenSSH file; `passphrase` is asked if it is encrypted.

    `UsageError` for any other content, another kind of key, or a wrong passphrase.
    """
    serialization, ed25519 = _library("signing a bundle")
    content = _key_bytes(path)
    if b"PUBLIC KEY" in content or content.startswith(b"ssh-"):
        raise UsageError(f"{path} is a public key", expected="the private one, to sign with")
    from cryptography.exceptions import UnsupportedAlgorithm

    openssh = b"OPENSSH" in content
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        try:
            key = load(content, None)
        except TypeError:  # how the library says that a key is encrypted
            key = load(content, passphrase().encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is not a private key that can be read, or its passphrase is another",
            expected="Ed25519 in PEM",
            hint=MAKE_KEY,
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(
            f"{path} is another kind of key", got=type(key).__name__, expected="Ed25519"
        )
    private: Ed25519PrivateKey = key
    return private


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 public key in a PEM file or an OpenSSH line; `UsageError` for anything else."""
    serialization, ed25519 = _library("verifying a signature")
    content = _key_bytes(path)
    if b"PRIVATE KEY" in content:
        raise UsageError(
            f"{path} is a private key",
            expected=f"the public one ({path.name}.pub)",
            hint="Whoever verifies never needs the private key.",
        )
    openssh = content.startswith(b"ssh-")
    load = serialization.load_ssh_public_key if openssh else serialization.load_pem_public_key
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = load(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key in PEM", hint=MAKE_KEY) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(
            f"{path} is another kind of key", got=type(key).__name__, expected="Ed25519"
        )
    public: Ed25519PublicKey = key
    return public


def key_name(raw: bytes) -> str:
    """A short name of a public key: the first 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(raw).hexdigest()[:16]


def _evidence_sha256(bundle: Bundle) -> str | None:
    index = bundle.evidence / INDEX
    return str(read_sealed(index)["sha256"]) if index.is_file() else None


def sign_bundle(path: Path, key: Ed25519PrivateKey) -> Signature:
    """Write `signature.json` into the bundle, in place of an older one.

    `BundleError` for a bundle that is not whole: its sha256 would be signed as they are not.
    """
    if found := file_problems(path):
        raise BundleError("; ".join(found), hint="Only a whole bundle is signed.")
    bundle = open_bundle(path)
    if found := engine_problems(bundle):
        raise BundleError("; ".join(found), hint="Only a whole bundle is signed.")
    statement = Statement(
        purpose="artoolkit bundle",
        manifest=bundle.manifest.sha256,
        evidence=_evidence_sha256(bundle),
        engines={plan.name: file_sha256(plan) for plan in engine_files(bundle)},
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    signed = key.sign(canonical(statement.model_dump(mode="json")))
    values = {
        "schema_version": "1",
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "statement": statement.model_dump(mode="json"),
        "signature": base64.b64encode(signed).decode(),
    }
    write_sealed(path / SIGNATURE, values)
    return read_signature(path)


def read_signature(path: Path) -> Signature:
    """The signature of the bundle at `path`; `BundleError` where there is none or it is damaged."""
    file = path / SIGNATURE
    if not file.is_file():
        raise BundleError(
            f"{path} is not signed: it has no {SIGNATURE}",
            hint="Sign it with: artoolkit sign BUNDLE --key KEY",
        )
    values = read_sealed(file)
    if values.get("schema_version") != "1":
        raise BundleError(
            f"{file} has another schema version", got=values.get("schema_version"), expected="1"
        )
    try:
        found = Signature.model_validate(values)
        for text in (found.public_key, found.signature):
            base64.b64decode(text, validate=True)
    except ValidationError as error:
        raise BundleError(f"{file} is not valid: {problems(error)}") from error
    except ValueError as error:
        raise BundleError(f"{file} is not valid: {error}") from error
    return found


def _uncovered(bundle: Bundle, statement: Statement) -> list[str]:
    """What the statement says otherwise than the bundle, by name."""
    found = []
    if statement.manifest != bundle.manifest.sha256:
        found.append(f"{SIGNATURE} was made for another manifest")
    if statement.evidence != _evidence_sha256(bundle):
        found.append("the evidence was changed after it was signed")
    here = {plan.name: file_sha256(plan) for plan in engine_files(bundle)}
    found += [
        f"engine {name} was changed after it was signed"
        for name, sha256 in statement.engines.items()
        if here.get(name, sha256) != sha256
    ]
    return found


def _is_valid(signature: Signature, key: Ed25519PublicKey) -> bool:
    from cryptography.exceptions import InvalidSignature

    statement = canonical(signature.statement.model_dump(mode="json"))
    try:
        key.verify(base64.b64decode(signature.signature), statement)
    except InvalidSignature:
        return False
    return True


def check_signature(path: Path, key: Ed25519PublicKey) -> Check:
    """PASS if the bundle as it is was signed with `key`; engines added since are named."""
    raw = key.public_bytes_raw()
    try:
        signature = read_signature(path)
        bundle = open_bundle(path, check_hashes=False)
        uncovered = _uncovered(bundle, signature.statement)
    except BundleError as error:
        return _signature_check("FAIL", str(error))
    if signature.public_key != base64.b64encode(raw).decode():
        other = key_name(base64.b64decode(signature.public_key))
        words = f"signed with another key: {other}, and {key_name(raw)} is required"
        return _signature_check("FAIL", words)
    if not _is_valid(signature, key):
        words = f"{SIGNATURE} is not valid: key {key_name(raw)} did not sign its statement"
        return _signature_check("FAIL", words)
    if uncovered:
        return _signature_check("FAIL", "; ".join(uncovered))
    words = f"signed {signature.statement.created} with key {key_name(raw)}"
    later = [p.name for p in engine_files(bundle) if p.name not in signature.statement.engines]
    if later:
        words += f"; not signed, added later: {', '.join(later)}"
    return _signature_check("PASS", words)


def note_signature(path: Path) -> Check:
    """What can be said of a signature without a key: is it of this bundle as it is?"""
    try:
        signature = read_signature(path)
        found = _uncovered(open_bundle(path, check_hashes=False), signature.statement)
        name = key_name(base64.b64decode(signature.public_key))
    except BundleError as error:
        return _signature_check("FAIL", str(error), required=False)
    if found:
        return _signature_check("FAIL", "; ".join(found), required=False)
    words = f"says key {name}; not checked without --require-signature KEY"
    return _signature_check("UNAVAILABLE", words, required=False)


def _signature_check(
    result: Literal["PASS", "FAIL", "UNAVAILABLE"], words: str, *, required: bool = True
) -> Check:
    return Check(name="signature", result=result, summary=words, required=required)
