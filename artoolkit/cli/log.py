"""`artoolkit log`: every verdict in a bundle, the newest first."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(*, bundle: Path, as_json: bool) -> None:
    """List the verdicts of BUNDLE: when, on which machine, with which answer to each check.

    They lie in BUNDLE/evidence, a folder each, and none is ever overwritten. `artoolkit verify`
    answers them again.
    """
    from artoolkit.checks.compare import VERDICT
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.evidence.records import read_record
    from artoolkit.evidence.verdict import Verdict

    proofs = open_bundle(bundle).proofs
    verdicts = {folder.name: read_record(folder / VERDICT, Verdict) for folder in proofs}
    if as_json:
        rows = [
            {"proof": name, "result": verdict.result, "created": verdict.created}
            | {"environment": verdict.environment.model_dump(mode="json")}
            | {"checks": {check.name: check.result for check in verdict.checks}}
            | {"kept": {check.name: check.origin for check in verdict.checks if check.origin}}
            for name, verdict in verdicts.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    if not verdicts:
        click.echo(f"{bundle} holds no verdict yet: artoolkit compare {bundle}")
    for name, verdict in verdicts.items():
        click.echo(f"{verdict.result}  {name}")
        for check in verdict.checks:
            kept = f" (from {check.origin})" if check.origin else ""
            click.echo(f"  {check.result:<11} {check.name}{kept}")
