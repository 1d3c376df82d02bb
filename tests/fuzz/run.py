"""The full run: `python tests/fuzz/run.py --inputs 10000 --out benchmarks/results/fuzz.json`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# As pytest does, so that both runs find the same files.
sys.path[:0] = [str(ROOT / p) for p in SETTINGS["tool"]["pytest"]["ini_options"]["pythonpath"]]


def main() -> int:
    from formats import formats
    from harness import FAULTS, run

    from artoolkit.commit import source_commit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="Of all formats together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="Formats whose name holds this text.")
    parser.add_argument("--keep", type=Path, help="Folder for one input of each fault.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        found = [one for one in formats(Path(scratch)) if given.only in one.name]
        each = -(-given.inputs // len(found))
        counts = run(found, inputs=each, seed=given.seed)
    for count in counts:
        for number, (place, content) in enumerate(count.places.items()):
            print(f"{count.format}: {place}")
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                name = f"{count.format}-{number}".replace("/", "_").replace(" ", "_")
                (given.keep / name).write_bytes(content)
    totals = {fault: sum(count.faults[fault] for count in counts) for fault in FAULTS}
    record = {
        "inputs": sum(count.inputs for count in counts),
        "seed": given.seed,
        "commit": source_commit(),
        "faults": totals,
        "formats": {
            count.format: {
                "inputs": count.inputs,
                "refused": count.inputs - count.codes[0],
                "exit_codes": {str(code): n for code, n in sorted(count.codes.items())},
            }
            for count in counts
        },
    }
    if given.out:
        given.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({"inputs": record["inputs"], **totals}))
    return int(any(totals.values()))


if __name__ == "__main__":
    sys.exit(main())
