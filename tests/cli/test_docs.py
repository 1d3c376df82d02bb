"""The commands of README.md, docs/ and --help: every option exists, and every one is run.

They are run in order in one folder, where each finds what earlier ones made, at tiny sizes. What is
not run is listed with the reason, and so is every command of another program.
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
from verbs import leaves

from artoolkit.checks import memory
from artoolkit.cli import VERBS, main, run
from artoolkit.networks.factory import TRUSTED_VARIABLE
from artoolkit.networks.sources import sources
from artoolkit.training.recipe import recipe_names
from artoolkit.words import CITYSCAPES_VARIABLE

ROOT = Path(__file__).parents[2]


def pages() -> Iterator[str]:
    """The text of every page of the site, its continued lines joined."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield re.sub(r"\\\n\s*", "", page.read_text())


def commands() -> Iterator[str]:
    """Lines of a console block, and of an indented one with its continuations."""
    for text in pages():
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            yield from (line for line in block.splitlines() if line.startswith("artoolkit "))
        yield from re.findall(r"^    (artoolkit .*)", text, re.MULTILINE)


def in_sentences() -> Iterator[str]:
    """Whole commands within a sentence, and those in the text of a verb's --help.

    With an option or a file: a name of a verb alone is no command.
    """
    for text in pages():
        found = (re.sub(r"\s+", " ", one) for one in re.findall(r"`(artoolkit [^`]+)`", text))
        yield from (one for one in found if re.search(r"^\w+ [a-z].*( --\S+ \S|[./A-Z])", one))
    for verb, command in leaves(main):
        for line in (command.help or "").splitlines():
            if shown := re.match(rf"\s*(?:artoolkit )?({verb} (?:\S+ )*\S+)(\s{{2,}}|$)", line):
                yield f"artoolkit {shown[1]}"


@pytest.mark.parametrize("text", [*commands(), *in_sentences()])
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
    " (MODEL|BUNDLE|FORM|FILE|A.onnx)": "placeholders; tests of the verb run them",
    "--suite gpu|--lock-hint": "for a GPU; tests/benchmarks/test_gpu.py, tests/cost",
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
    # Last those that replace the bundle.
    for text in (*first, *written, *helped, *in_sentences()):
        same.setdefault(re.sub(" --data-root data| --target cpu| --json$", "", text), text)
    return list(same.values())


def is_run(text: str) -> bool:
    return not any(re.search(pattern, text) for pattern in _NOT_RUN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the commands are run in; Cityscapes is what `data synthesize` makes there."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "images").mkdir()
    for image in (folder / "street.png", folder / "images" / "street.png"):
        Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(image)
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
    if "--untrained" in arguments:
        tiny = [*tiny, "--option", "width=0.0625"]
    code = run([verb, *arguments, *tiny])
    # Two epochs of nothing may fail, and a second decides no latency.
    assert code in ((0, 1, 3) if verb in ("export", "compare") else (0,))
    if "--baseline" in arguments and verb == "export":
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


# Lines of blocks that call another program, and the test or the check that runs them.
_ELSEWHERE = {
    r"pip install|python3 -m venv": "benchmarks/installs.py asks pip; tests/test_packaging.py",
    r"torchrun ": "GPUs, nodes; tests/e2e/test_torchrun.py runs it on processors",
    r"openssl ": "tests/evidence/test_signature.py",
    r"python -m artoolkit.report.schema FOLDER": "tests/report/test_page.py calls what it calls",
    r"python benchmarks/(suites|tables).py": "tests/benchmarks/test_suites.py, test_plots.py",
}
_PROGRAMS = "pip|python3?|torchrun|make|docker|colcon|ros2|openssl|git|curl|uv|conda|export|cd"


def test_every_other_command_is_run_somewhere() -> None:
    found = [
        line for text in pages() for line in re.findall(rf"^    ((?:{_PROGRAMS}) .*)", text, re.M)
    ]
    assert len(found) > 5
    unknown = [line for line in found if not any(re.match(one, line) for one in _ELSEWHERE)]
    assert not unknown
    for pattern in _ELSEWHERE:
        assert any(re.match(pattern, line) for line in found), pattern
