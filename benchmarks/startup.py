"""Start-up time of the command line: help, and `verify` with its inference apart.

    python benchmarks/startup.py --bundle runs/camvid/bundle

Whole processes in turn, an empty Python and one that imports click among them, after one round that
is not counted. `verify` also runs on a bundle of an untrained `icnet`, made here. Inference is what
the process spends in `infer`, timed inside it. Beside the times stand the packages that a command
has imported when it ends, and what importing them took, from `python -X importtime`.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from suite import is_measured, run_suite, shared_options

from artoolkit.cli import run
from artoolkit.errors import ArtoolkitError
from artoolkit.evidence.bundle import open_bundle

Sample = dict[str, float]
ARTOOLKIT = str(Path(sys.executable).with_name("artoolkit"))
EMPTY = "python -c pass"
HELP = "artoolkit --help"
COMMANDS: dict[str, tuple[str, ...]] = {
    EMPTY: (sys.executable, "-c", "pass"),
    "python -c 'import click'": (sys.executable, "-c", "import click"),
    HELP: (ARTOOLKIT, "--help"),
    "artoolkit verify --help": (ARTOOLKIT, "verify", "--help"),
}
SIZES = ((64, 128), (1024, 2048))
TRAINING = ("torch", "onnx", "scipy", "matplotlib")
STANDARD, SHOWN = "standard library", 4
# Each ends with one line of JSON on standard error and the exit code of `artoolkit ARGUMENTS`.
INFERENCE_S = """
import json, sys, time
from artoolkit.backends.runner import OpenRunner
infer, spent = OpenRunner.infer, []
def timed(runner, images):
    started = time.perf_counter()
    outputs = infer(runner, images)
    spent.append(time.perf_counter() - started)
    return outputs
OpenRunner.infer = timed
from artoolkit.cli import run
code = run(sys.argv[1:])
print(json.dumps(sum(spent)), file=sys.stderr)
sys.exit(code)
"""
PACKAGES = """
import json, sys
before = set(sys.modules)
from artoolkit.cli import run
code = run(sys.argv[1:])
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(roots - sys.stdlib_module_names)), file=sys.stderr)
sys.exit(code)
"""


def process(*arguments: str) -> tuple[Sample, list[str]]:
    """Wall and processor seconds of one process, and the lines of its standard error.

    `ArtoolkitError` where it ends with another exit code than 0.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = done.stderr.splitlines()
    if done.returncode:
        raise ArtoolkitError(f"a timed command ended with code {done.returncode}", got=lines[-3:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s}, lines


def packages_of(*arguments: str) -> list[str]:
    """Packages outside the standard library that `artoolkit ARGUMENTS` imports."""
    found: list[str] = json.loads(process(sys.executable, "-c", PACKAGES, *arguments)[1][-1])
    return found


def import_times(*arguments: str) -> dict[str, float]:
    """Milliseconds that importing each package took, the standard library as one; best of three."""
    code = f"import sys; from artoolkit.cli import run; sys.exit(run({list(arguments)!r}))"
    command = (sys.executable, "-X", "importtime", "-c", code)
    return min((summed(process(*command)[1]) for _ in range(3)), key=lambda ms: sum(ms.values()))


def summed(lines: Sequence[str]) -> dict[str, float]:
    """Milliseconds by package of the lines `import time: self | cumulative | module`."""
    spent: Counter[str] = Counter()
    for line in lines:
        own, _, rest = line.removeprefix("import time:").partition("|")
        root = rest.partition("|")[2].strip().partition(".")[0]
        if own.strip().isdigit() and root:
            spent[STANDARD if root in sys.stdlib_module_names else root] += int(own)
    return {root: microseconds / 1e3 for root, microseconds in spent.items()}


def timed_commands(rounds: int) -> dict[str, Any]:
    """The commands that only print, and those that they are compared with."""
    samples: dict[str, list[Sample]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            sample, _ = process(*arguments)
            if number:
                samples[name].append(sample)
    ours = {name: line[1:] for name, line in COMMANDS.items() if line[0] == ARTOOLKIT}
    return {
        "samples": samples,
        "packages": {name: packages_of(*arguments) for name, arguments in ours.items()},
        "imports_ms": {HELP: import_times("--help")},
    }


def timed_verify(bundle: Path, rounds: int) -> dict[str, Any]:
    """`verify` of one bundle, each time after an empty Python."""
    manifest = open_bundle(bundle).manifest
    name = f"artoolkit verify, {manifest.network} {'x'.join(map(str, manifest.target.imgsz))}"
    samples: dict[str, list[Sample]] = {EMPTY: [], name: []}
    for number in range(rounds + 1):
        empty, _ = process(*COMMANDS[EMPTY])
        sample, lines = process(sys.executable, "-c", INFERENCE_S, "verify", str(bundle))
        if number:
            samples[EMPTY].append(empty)
            samples[name].append(sample | {"inference_s": json.loads(lines[-1])})
    content = [path for path in bundle.rglob("*") if path.is_file()]
    return {
        "samples": samples,
        "packages": {name: packages_of("verify", str(bundle))},
        "imports_ms": {name: import_times("verify", str(bundle))},
        "bundle_bytes": sum(path.stat().st_size for path in content),
    }


def timed_untrained(size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """`verify` of a bundle of an untrained `icnet`, which is made for it."""
    export = ("export", "--untrained", "icnet", "--num-classes", "19", "--imgsz", *map(str, size))
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        with contextlib.redirect_stdout(io.StringIO()):
            code = run((*export, "--out", str(bundle)))
        if code:
            raise ArtoolkitError(f"the untrained network was not exported: exit code {code}")
        return timed_verify(bundle, rounds)


def table(raw: dict[str, Any]) -> list[str]:
    """Seconds of every command, and where they go."""
    lines = [
        f"| command | seconds | inference | the rest | processor seconds | / `{EMPTY}` | imports |",
        "|---|---|---|---|---|---|---|",
    ]
    rows: dict[str, str] = {}
    for values in filter(is_measured, raw.values()):
        for name, samples in values["samples"].items():
            cells = (*_seconds(samples), _ratio(samples, values["samples"][EMPTY]))
            row = f"| `{name}` | {' | '.join(cells)} | {_imports(values, name)} |"
            rows.setdefault(name, row)
    return [*lines, *(rows[name] for name in [*COMMANDS, *sorted(rows.keys() - COMMANDS)])]


def _seconds(samples: list[Sample]) -> tuple[str, str, str, str]:
    """Medians of the whole, of inference, of the rest, and of the processor's time."""
    inference = [sample.get("inference_s", 0.0) for sample in samples]
    rest = [sample["wall_s"] - spent for sample, spent in zip(samples, inference, strict=True)]
    columns = ([s["wall_s"] for s in samples], inference, rest, [s["cpu_s"] for s in samples])
    wall, inferred, left, cpu = (f"{statistics.median(column):.3f}" for column in columns)
    return wall, inferred if any(inference) else "-", left, cpu


def _ratio(samples: list[Sample], empty: list[Sample]) -> str:
    """Median over the rounds, of the processes of one round."""
    pairs = zip(samples, empty, strict=True)
    return f"{statistics.median(a['wall_s'] / b['wall_s'] for a, b in pairs):.1f}"


def _imports(values: dict[str, Any], name: str) -> str:
    """Imports: their number, those that take longest, and any that only training needs."""
    packages = values["packages"].get(name)
    if packages is None:
        return "-"
    found = [root for root in TRAINING if root in packages]
    words = f"with {', '.join(found)}" if found else f"no {TRAINING[0]}"
    times = values["imports_ms"].get(name)
    if times is None:
        return f"{', '.join(packages)}; {words}"
    longest = sorted(times.items(), key=lambda item: -item[1])[:SHOWN]
    shown = ", ".join(f"{root} {ms:.0f} ms" for root, ms in longest)
    return f"{len(packages)} packages in {sum(times.values()):.0f} ms ({shown}); {words}"


@click.command()
@shared_options
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A bundle to verify as well; may be given repeatedly.",
)
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(min=1))
def main(*, machine: str, again: bool, bundles: tuple[Path, ...], rounds: int) -> None:
    """Time the start of the command line and write the result file."""
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "commands": partial(timed_commands, rounds),
        **{f"untrained {height}x{width}": partial(timed_untrained, (height, width), rounds)
           for height, width in SIZES},
    }  # fmt: skip
    cases |= {f"bundle {path}": partial(timed_verify, path, rounds) for path in bundles}
    path = run_suite("startup", cases, machine=machine, settings={"rounds": rounds}, again=again)
    click.echo(path.name)


if __name__ == "__main__":
    main()
