"""The commands of README.md, docs/ and --help: every option exists, and every one is run.

They are run in order in one folder, where each finds what earlier ones made, at tiny sizes. What is
not run is listed with the reason.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from judged import without_rtx
from PIL import Image

from artoolkit.checks import memory
from artoolkit.cli import VERBS, main, run
from artoolkit.networks.custom import TRUSTED_VARIABLE
from artoolkit.networks.sources import sources
from artoolkit.training.recipe import recipe_names
from artoolkit.words import CITYSCAPES_VARIABLE

ROOT = Path(__file__).parents[2]


def commands() -> Iterator[str]:
    """Lines of a console block, and of an indented one with its continuations."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            yield from (line for line in block.splitlines() if line.startswith("artoolkit "))
        yield from re.findall(r"^    (artoolkit .*)", text, re.MULTILINE)


@pytest.mark.parametrize("text", list(commands()))
def test_a_command_of_the_pages_is_one(text: str) -> None:
    _, verb, *arguments = shlex.split(text, comments=True)
    assert verb in VERBS
    context = click.Context(main)
    command = main.get_command(context, verb)
    if isinstance(command, click.Group):
        verb, *arguments = arguments
        command = command.get_command(context, verb)
    assert command is not None
    known = {flag for parameter in command.params for flag in parameter.opts}
    known |= {flag for parameter in command.params for flag in parameter.secondary_opts}
    assert {a for a in arguments if a.startswith("--")} <= known
    if "--recipe" in arguments:
        assert arguments[arguments.index("--recipe") + 1] in recipe_names()
    if verb == "fetch":
        assert arguments[0] in {source.name for source in sources()}
    files = {source.file for source in sources()}
    for name in (Path(a).name for a in arguments if a.startswith("weights/")):
        assert name in files


# Appended: the last of two values counts.
_SMALL = ["--epochs", "1", "--batch-size", "2", "--workers", "0",
          "--set", "augmentation.crop=[32, 64]", "--set", "execution.precision=fp32"]  # fmt: skip
_TINY = {
    "data": ["--train", "4", "--val", "2", "--imgsz", "64", "128", "--workers", "1"],
    "train": [*_SMALL, "--set", "network.options.width=0.125"],
    "finetune": _SMALL,
    "export": ["--imgsz", "64", "128", "--budget-s", "1", "--blocks", "2", "--golden", "2",
               "--overwrite", "--json"],
    "compare": ["--budget-s", "1", "--blocks", "2"],
    "benchmark": ["--duration-s", "0.1"],
}  # fmt: skip
_NOT_RUN = {
    "quickstart": "minutes; the same commands are run here, and `make demo` runs it",
    "experiment": "many runs; tests/cli/test_experiment.py runs a tiny one",
    "weights fetch|weights/|artoolkit hub ": "the internet; tests have a server in its place",
    "weights import|caffemodel|icnet.safetensors|pspnet50": "published weights are not at hand",
    "mynet|theirs|compare bundle$": "tests/e2e/test_own_network.py runs docs/your-network.md",
    "build ": "an engine needs a target with TensorRT; tests/cli/test_engines.py",
    r"CKPT|nyuv2|camvid|CAMVID|yard| DATA |\.\.\.$": "for the reader's own files",
    "artoolkit (delta|refit)": "tests/cli/test_delta.py",
    "artoolkit data convert": "annotations of others; tests/data/convert",
    "compare fp32 int8": "tests/cli/test_compare.py",
    "--roofline": "seconds of peak measurements; tests/cost/test_roofline.py",
    "--format triton": "tests/cli/test_triton_format.py",
}


def examples() -> list[str]:
    """Those of --help, after the commands of the README that make what they need."""
    helped = [f"artoolkit {text}" for verb in VERBS.values() for text in verb.examples]
    written = [re.sub(r"\s+#.*", "", text).strip() for text in commands()]
    made = ("artoolkit data synthesize", "artoolkit sign --new-key")
    first = [text for text in helped if text.startswith(made)]
    # With the variable set the folder is the same, cpu is the target by default, and one export
    # is run as JSON.
    same: dict[str, str] = {}
    for text in (*first, *written, *helped):
        same.setdefault(re.sub(" --data-root data| --target cpu| --json$", "", text), text)
    return list(same.values())


def is_run(text: str) -> bool:
    return not any(re.search(pattern, text) for pattern in _NOT_RUN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the commands are run in; Cityscapes is what `data synthesize` makes there."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(folder / "images" / "street.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CITYSCAPES_DATASET", str(folder / "data"))
        without_rtx(patch)
        patch.setattr(memory, "PROCESS_RUNS", 1)
        yield folder


@pytest.mark.xdist_group("commands")
@pytest.mark.parametrize("text", filter(is_run, examples()))
def test_a_command_does_what_the_pages_say(
    text: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, verb, *arguments = shlex.split(text)
    tiny = [] if arguments[:1] == ["check"] else _TINY.get(verb, [])
    code = run([verb, *arguments, *tiny])
    # Two epochs of nothing may fail, and a second decides no latency.
    assert code in ((0, 1, 3) if verb in ("export", "compare") else (0,))
    if verb == "export":
        assert json.loads(capsys.readouterr().out)["kind"] == "verdict"


def test_what_is_not_run_exists() -> None:
    """A reason that fits no command any more would hide the next one."""
    for pattern in _NOT_RUN:
        assert any(re.search(pattern, text) for text in examples()), pattern


def test_every_environment_variable_is_in_the_table() -> None:
    """Those that artoolkit reads itself; PYTHONSAFEPATH it sets for its own children."""
    page = (ROOT / "docs" / "automation.md").read_text()
    read = set()
    for file in (ROOT / "artoolkit").rglob("*.py"):
        read |= set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', file.read_text()))
    read |= {CITYSCAPES_VARIABLE, TRUSTED_VARIABLE, "WORLD_SIZE", "LOCAL_RANK"}
    for name in read - {"PYTHONSAFEPATH"}:
        assert f"`{name}`" in page, name
