"""Signature of a bundle: a DSSE envelope with an in-toto Statement over every file in it.

Hashes show that nothing was changed by accident; a signature shows that nobody without the key has
changed it on purpose. `signature.json` is an envelope that other tools read too (DSSE 1.0, in-toto
Statement v1): its subjects are all files of the bundle by path and sha256, its predicate says what
the bundle is and what was found. Files that came later are named, and covered by no signature.
Needs `cryptography`, which only signing and `verify --require-signature` ask for.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import ENGINES, EVIDENCE, SIGNATURE, open_bundle
from artoolkit.evidence.contents import file_problems, is_unfinished
from artoolkit.evidence.keys import key_id
from artoolkit.evidence.records import current_environment
from artoolkit.evidence.seal import canonical, file_sha256, read_sealed, write_atomically
from artoolkit.evidence.verdict import Check, in_brief
from artoolkit.files import parse_json, read_bytes, reading
from artoolkit.spec import problems

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:artoolkit:bundle:1"
# A device adds engines and verdicts of its own; nothing else may come after the signature.
GROWING = (f"{EVIDENCE}/", f"{ENGINES}/")
SHOWN_DIGITS, SHOWN_FILES = 16, 5


class _Record(BaseModel):
    """A part of somebody's JSON: extra keys are theirs, but what we read has to be right."""

    model_config = ConfigDict(frozen=True, strict=True)


class Signed(_Record):
    """One signature of an envelope, in base64; `keyid` only says which key to look for."""

    keyid: str = ""
    sig: str


class Envelope(_Record):
    """DSSE 1.0: the payload in base64, and signatures over `signed_bytes` of it."""

    payloadType: str
    payload: str
    signatures: list[Signed] = Field(min_length=1, max_length=64)


class Subject(_Record):
    """A file of the bundle: its path in it, and its digest by algorithm."""

    name: str
    digest: dict[str, str]


class Predicate(_Record):
    """Statement of the signer about the bundle, beside its hashes; times are ISO 8601 in UTC."""

    created: AwareDatetime = Field(strict=False)
    expires: AwareDatetime | None = Field(default=None, strict=False)


class Statement(BaseModel):
    """in-toto Statement v1 with our predicate."""

    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)

    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject]
    predicateType: Literal["urn:artoolkit:bundle:1"]
    predicate: Predicate

    def files(self) -> dict[str, str]:
        """Path in the bundle -> sha256."""
        return {one.name: one.digest.get("sha256", "") for one in self.subject}


@dataclass(frozen=True)
class Signature:
    """An envelope that was read, and the statement in it."""

    envelope: Envelope
    payload: bytes
    statement: Statement

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(one.keyid for one in self.envelope.signatures)


def signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: no payload of another type can be taken for ours."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def bundle_files(path: Path) -> dict[str, str]:
    """The sha256 of every file below the bundle by its path in it, the signature left out."""
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    return {
        name: file_sha256(file)
        for name, file in sorted(files.items())
        if name != SIGNATURE and not is_unfinished(name)
    }


def sign_bundle(
    path: Path, key: Ed25519PrivateKey, *, expires: datetime | None = None
) -> Signature:
    """Write `signature.json` into the bundle, in place of an older one.

    `BundleError` for a bundle that is not whole: its files would be signed as they are not.
    """
    if found := file_problems(path):
        raise BundleError("; ".join(found), hint="Only a whole bundle is signed.")
    payload = canonical(_statement(path, expires))
    signed = Signed(
        keyid=key_id(key.public_key()),
        sig=base64.b64encode(key.sign(signed_bytes(payload))).decode(),
    )
    envelope = Envelope(
        payloadType=PAYLOAD_TYPE, payload=base64.b64encode(payload).decode(), signatures=[signed]
    )
    write_atomically(path / SIGNATURE, canonical(envelope.model_dump()))
    return read_signature(path)


def _statement(path: Path, expires: datetime | None) -> dict[str, Any]:
    manifest = open_bundle(path, check_hashes=False).manifest
    verdicts = {
        file.relative_to(path).as_posix(): read_sealed(file)
        for file in sorted((path / EVIDENCE).rglob("verdict.json"))
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": h}} for n, h in bundle_files(path).items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "expires": None if expires is None else expires.isoformat(timespec="seconds"),
            "network": manifest.network,
            "manifest": manifest.sha256,
            "target": manifest.target.model_dump(mode="json"),
            "verdicts": {
                name: {
                    "result": verdict["result"],
                    "checks": {one["name"]: one["result"] for one in verdict["checks"]},
                    "environment": verdict["environment"],
                }
                for name, verdict in verdicts.items()
            },
            "environment": current_environment().model_dump(mode="json"),
        },
    }


def read_signature(path: Path) -> Signature:
    """The signature of the bundle at `path`; `BundleError` where there is none or it is damaged."""
    file = path / SIGNATURE
    if not file.exists():
        raise BundleError(
            f"{path} is not signed: it has no {SIGNATURE}",
            hint="Sign it with: artoolkit sign BUNDLE --key KEY",
        )
    with reading(file, BundleError):
        values = parse_json(read_bytes(file, BundleError))
        if isinstance(values, dict) and "schema_version" in values:
            raise BundleError(
                f"{file} is a signature of an earlier artoolkit", hint="Sign the bundle again."
            )
        try:
            envelope = Envelope.model_validate(values)
            payload = base64.b64decode(envelope.payload, validate=True)
            for one in envelope.signatures:
                base64.b64decode(one.sig, validate=True)
            if envelope.payloadType != PAYLOAD_TYPE:
                raise ValueError(f"its payload is {envelope.payloadType}, not {PAYLOAD_TYPE}")
            return Signature(envelope, payload, Statement.model_validate(parse_json(payload)))
        except ValidationError as error:
            raise BundleError(f"{file} is not valid: {problems(error)}") from error


def _uncovered(path: Path, statement: Statement) -> tuple[list[str], list[str]]:
    """The files that are not what was signed, in words, and those that came after it."""
    here, signed = bundle_files(path), statement.files()
    found = [f"{name} has gone since it was signed" for name in signed if name not in here]
    found += [
        f"{name} was changed after it was signed"
        for name, sha256 in signed.items()
        if here.get(name, sha256) != sha256
    ]
    later = [name for name in here if name not in signed]
    found += [f"{name} was added after it was signed" for name in later if not _may_come(name)]
    return found, [name for name in later if _may_come(name)]


def _may_come(name: str) -> bool:
    return name.startswith(GROWING)


def _is_valid(signature: Signature, key: Ed25519PublicKey) -> bool:
    from cryptography.exceptions import InvalidSignature

    content = signed_bytes(signature.payload)
    for one in signature.envelope.signatures:
        try:
            key.verify(base64.b64decode(one.sig), content)
        except InvalidSignature:
            continue
        return True
    return False


def check_signature(path: Path, key: Ed25519PublicKey) -> Check:
    """PASS if what `key` signed is there as it was signed; files that came later are named."""
    ours = key_id(key)[:SHOWN_DIGITS]
    try:
        signature = read_signature(path)
    except BundleError as error:
        return _signature_check("FAIL", str(error))
    if not _is_valid(signature, key):
        others = ", ".join(one[:SHOWN_DIGITS] or "unnamed" for one in signature.key_ids)
        words = f"{SIGNATURE} is not valid: key {ours} did not sign its statement"
        if key_id(key) not in signature.key_ids:
            words = f"signed with another key: {others}, and {ours} is required"
        return _signature_check("FAIL", words)
    predicate = signature.statement.predicate
    if predicate.expires is not None and predicate.expires < datetime.now(timezone.utc):
        return _signature_check("FAIL", f"the signature expired {predicate.expires.isoformat()}")
    found, later = _uncovered(path, signature.statement)
    if found:
        return _signature_check("FAIL", "; ".join(found))
    words = f"signed {predicate.created.isoformat()} with key {ours}"
    if later:
        more = f" and {len(later) - SHOWN_FILES} more" if len(later) > SHOWN_FILES else ""
        words += f"; not signed, added later: {', '.join(later[:SHOWN_FILES])}{more}"
    return _signature_check("PASS", words)


def note_signature(path: Path) -> Check:
    """Compare the bundle with its signature, without a key."""
    if not (path / SIGNATURE).exists():
        return _signature_check("UNAVAILABLE", "not signed", required=False)
    try:
        signature = read_signature(path)
        found, _later = _uncovered(path, signature.statement)
    except BundleError as error:
        return _signature_check("FAIL", str(error), required=False)
    if found:
        return _signature_check("FAIL", "; ".join(found), required=False)
    names = ", ".join(one[:SHOWN_DIGITS] or "unnamed" for one in signature.key_ids)
    words = f"says key {names}; not checked without --require-signature KEY"
    return _signature_check("UNAVAILABLE", words, required=False)


def _signature_check(
    result: Literal["PASS", "FAIL", "UNAVAILABLE"], words: str, *, required: bool = True
) -> Check:
    return Check(name="signature", result=result, **in_brief(words), required=required)
