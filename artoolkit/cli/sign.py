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
@click.option("--sbom", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a CycloneDX 1.6 ML-BOM of BUNDLE here; needs no key.")  # fmt: skip
def command(
    *,
    bundle: Path | None,
    key: Path | None,
    new_key: Path | None,
    expires: datetime | None,
    as_json: bool,
    sbom: Path | None,
) -> None:
    """Sign every file of BUNDLE as it is. Anyone with the public key can check it.

    Writes BUNDLE/signature.json: a DSSE envelope with an in-toto Statement, which other tools read.

    \b
    sign --new-key release.key               make a key, once
    sign BUNDLE --key release.key            sign
    sign BUNDLE --sbom bundle.cdx.json       a bill of materials, without or
                                             with --key: network, data sets,
                                             libraries, every file's hash
    verify BUNDLE --require-signature release.key.pub

    A key from openssl serves as well, and may have a passphrase, which is asked for:

    \b
    openssl genpkey -algorithm ed25519 -aes256 -out release.key
    openssl pkey -in release.key -pubout -out release.key.pub
    """
    from artoolkit.evidence import keys
    from artoolkit.evidence.sbom import SPEC_VERSION, bill_of_materials
    from artoolkit.evidence.seal import canonical, write_atomically
    from artoolkit.evidence.signature import sign_bundle

    if new_key is not None:
        if any((bundle, key, sbom)):
            raise UsageError("--new-key stands alone: make the key first, then sign")
        public = keys.new_key(new_key)
        tell(
            {"private": new_key, "public": public},
            f"{new_key}  private: keep it",
            f"{public}  public: hand it out",
            as_json=as_json,
        )
        return
    if expires is not None and key is None:
        raise UsageError("--expires goes with --key")
    if bundle is None or not (key or sbom):
        raise UsageError("nothing to sign", expected="BUNDLE --key KEY, or --new-key FILE")
    if sbom is not None and bundle.resolve() in sbom.resolve().parents:
        raise UsageError(f"{sbom} lies in the bundle, which lists its files", hint="Put it beside.")

    told: dict[str, object] = {"bundle": bundle}
    lines: list[str] = []
    if key is not None:

        def ask() -> str:
            answer: str = click.prompt(f"Passphrase of {key}", hide_input=True, err=True)
            return answer

        until = None if expires is None else expires.replace(tzinfo=timezone.utc)
        signed = sign_bundle(bundle, keys.read_private_key(key, passphrase=ask), expires=until)
        told["files"] = count = len(signed.statement.subject)
        lines.append(f"{bundle}: signed {count} files")
    if sbom is not None:
        write_atomically(sbom, canonical(bill_of_materials(bundle)))
        told["sbom"] = sbom
        lines.append(f"{sbom}: CycloneDX {SPEC_VERSION}")
    tell(told, *lines, as_json=as_json)
