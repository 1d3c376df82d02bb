"""`artoolkit sign`: vouch for a bundle and its evidence with an Ed25519 key."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from artoolkit.cli.talk import json_option, tell
from artoolkit.errors import UsageError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False),
              help="Private key to sign with (Ed25519, PEM or OpenSSH).")  # fmt: skip
@click.option("--new-key", type=click.Path(path_type=Path, dir_okay=False),
              help="Make a key: FILE to sign with, and FILE.pub to hand out.")  # fmt: skip
@click.option("--expires", type=click.DateTime(("%Y-%m-%d",)), metavar="YYYY-MM-DD",
              help="Day (UTC) from which the signature no longer counts.")  # fmt: skip
@json_option
def command(
    *,
    bundle: Path | None,
    key: Path | None,
    new_key: Path | None,
    expires: datetime | None,
    as_json: bool,
) -> None:
    """Sign every file of BUNDLE as it is. Anyone with the public key can check it.

    Writes BUNDLE/signature.json: a DSSE envelope with an in-toto Statement, which other tools read.

    \b
    artoolkit sign --new-key release.key
    artoolkit sign BUNDLE --key release.key
    artoolkit verify BUNDLE --require-signature release.key.pub

    A key from openssl serves as well, and may have a passphrase, which is asked for:

    \b
    openssl genpkey -algorithm ed25519 -aes256 -out release.key
    openssl pkey -in release.key -pubout -out release.key.pub
    """
    from artoolkit.evidence import keys
    from artoolkit.evidence.signature import sign_bundle

    if new_key is not None:
        if bundle is not None or key is not None:
            raise UsageError("--new-key stands alone: make the key first, then sign")
        public = keys.new_key(new_key)
        lines = f"{new_key}  private: keep it", f"{public}  public: hand it out"
        tell({"private": new_key, "public": public}, *lines, as_json=as_json)
        return
    if bundle is None or key is None:
        raise UsageError("nothing to sign", expected="BUNDLE --key KEY, or --new-key FILE")

    def ask() -> str:
        answer: str = click.prompt(f"Passphrase of {key}", hide_input=True, err=True)
        return answer

    until = None if expires is None else expires.replace(tzinfo=timezone.utc)
    signed = sign_bundle(bundle, keys.read_private_key(key, passphrase=ask), expires=until)
    count = len(signed.statement.subject)
    tell({"bundle": bundle, "files": count}, f"{bundle}: signed {count} files", as_json=as_json)
