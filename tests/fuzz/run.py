"""The full run: `python tests/fuzz/run.py` writes benchmarks/results/fuzz--x86-2core--cpu.json.

Stopped, it goes on with the next format. `--only` and `--folder` are for looking for faults.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# As pytest does, so that both runs find the same files.
sys.path[:0] = [str(ROOT / p) for p in SETTINGS["tool"]["pytest"]["ini_options"]["pythonpath"]]

import result_file  # noqa: E402
from formats import formats  # noqa: E402
from harness import run  # noqa: E402
from one_format import Format  # noqa: E402
from suite import read_record, run_suite, shared_options  # noqa: E402


def damaged(one: Format, inputs: int, seed: int, keep: Path) -> dict[str, Any]:
    """A case of the suite; an input of every fault is kept in the folder."""
    (count,) = run([one], inputs=inputs, seed=seed)
    for number, (place, content) in enumerate(count.places.items()):
        click.echo(f"{one.name}: {place}")
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{one.name}-{number}".replace("/", "_").replace(" ", "_")).write_bytes(content)
    return {"group": one.group, "inputs": count.inputs, "faults": dict(count.faults),
            "exit_codes": {str(code): n for code, n in sorted(count.codes.items())}}  # fmt: skip


@click.command()
@shared_options
@click.option("--inputs", default=10_000, show_default=True, help="Of all formats together.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", default="", help="Formats whose name holds this text.")
@click.option("--folder", type=click.Path(path_type=Path),
              help="Where the result and an input of each fault go.  [default: benchmarks/results, "
              "or fuzz-faults with --only]")  # fmt: skip
def main(
    *, machine: str, again: bool, inputs: int, seed: int, only: str, folder: Path | None
) -> None:
    """Give damaged files to every reader; exit 1 where a fault was found."""
    # A part of the formats is no result to keep.
    default = Path("fuzz-faults") if only else result_file.RESULTS
    result_file.RESULTS = (folder or default).absolute()
    result_file.RESULTS.mkdir(parents=True, exist_ok=True)
    keep = result_file.RESULTS / "fuzz-faults"
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        found = [one for one in formats(Path(scratch)) if only in one.name]
        each = -(-inputs // len(found))
        cases = {one.name: partial(damaged, one, each, seed, keep) for one in found}
        settings = {"inputs of a format": each, "seed": seed}
        path = run_suite("fuzz", cases, machine=machine, settings=settings, again=again)
        os.chdir(ROOT)
    raw = read_record(path, result_file.ResultFile).raw
    faults = sum(sum(values["faults"].values()) for values in raw.values())
    click.echo(f"{sum(values['inputs'] for values in raw.values())} inputs, {faults} faults")
    raise SystemExit(int(bool(faults)))


if __name__ == "__main__":
    main()
