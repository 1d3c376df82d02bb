"""Ed25519 keys (RFC 8032): making them, and reading them from PEM and OpenSSH files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.errors import StorageError, UsageError
from artoolkit.files import read_bytes
from artoolkit.optional import require

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MOST_KEY_BYTES = 1 << 16
MAKE_KEY = "Make one with: artoolkit sign --new-key FILE"


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


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a public key in a signature: the sha256 of its 32 bytes, hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()
