"""Every path that a verb takes: what it reads has to be a file, and nothing at --out is lost."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from formats import CLASSES
from harness import MOST_SECONDS, limits, listed_codes
from judged import judged_bundle
from PIL import Image
from small_town import make_town
from tiny import write_tiny
from verbs import arguments, leaves

from artoolkit.cli import CRASH, main
from artoolkit.evidence.keys import new_key

pytestmark = pytest.mark.xdist_group("paths")
WRITTEN = {"out", "json", "markdown", "badge", "junit", "log_file", "new_key", "onnx",
           "sbom", "timing_cache"}  # fmt: skip
# One puts the paths into a workflow, the other asks a server.
UNREAD = ("ci", "hub")
# A text that may be the name of something built in, or a path.
NAMED = {"recipe", "target", "source", "labels", "teachers"}


def read_by(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters that name what the command reads."""
    return {
        one.name: one
        for one in command.params
        if one.name and one.name not in WRITTEN
        and (isinstance(one.type, click.Path) or one.name in NAMED)
    }  # fmt: skip


READ = [
    (verb, name) for verb, command in leaves(main) for name in read_by(command)
    if not verb.startswith(UNREAD)
]  # fmt: skip
# Those whose --out is a file; quickstart, which runs the others, has tests of its own.
FILES = {"benchmark", "delta", "evaluate", "report", "weights import", "weights probe"}
WRITING = sorted(
    verb for verb, command in leaves(main)
    if not verb.startswith(("quickstart", *UNREAD))
    and any(one.name == "out" for one in command.params)
)  # fmt: skip
# A result of the same verb, which is refused without --resume, --overwrite or the same options.
TAKEN = {"train": "base", "finetune": "base", "export": "judged/bundle", "refit": "judged/bundle",
         "data synthesize": "data"}  # fmt: skip


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
                     "segmentation": [[0, 0, 8, 0, 8, 8]]}],
    "categories": [{"id": 1, "name": "car"}],
}  # fmt: skip


def coco(place: Path) -> dict[str, Any]:
    images = place / "yard" / "images"
    return {"form": "coco-instances", "source": place / "coco.json", "images": images}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything that a command reads."""
    folder = make_town(tmp_path_factory.mktemp("place"), epochs=1)
    judged_bundle(folder / "judged")
    write_tiny(folder / "a.onnx")
    new_key(folder / "key")
    for name in ("images", "labels"):
        (folder / "yard" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "yard" / name / "a.png")
    (folder / "yard" / "classes.toml").write_text(CLASSES)
    (folder / "coco.json").write_text(json.dumps(COCO))
    return folder


def values(place: Path, verb: str, tested: str) -> dict[str, Any]:
    """What the parameters of `verb` have to be, so that it comes to read the `tested` one."""
    base, bundle = place / "base" / "model.safetensors", place / "judged" / "bundle"
    street = {"dataset": "cityscapes", "data_root": place / "data"}
    yard = {"dataset": "folder", "data_root": place / "yard",
            "classes": place / "yard" / "classes.toml"}  # fmt: skip
    data = yard if tested == "classes" else street
    training = data | {"recipe": place / "tiny.toml", "workers": 0}
    tuning = training | {"baseline": base}
    return {
        "data check": (data if tested == "classes" else {"dataset": "cityscapes"})
        | {"root": data["data_root"]},
        "data convert": coco(place),
        "weights import": {"file": base, "network": "icnet", "num_classes": 3},
        "weights probe": data | {"file": base, "network": "torch.nn:Identity"},
        "train": training,
        "finetune": tuning,
        "experiment": tuning,
        "evaluate": data | {"model": base},
        "export": data | {"checkpoint": base}
        if tested != "engine" else {"checkpoint": bundle, "form": "triton"},
        "compare": {"baseline": place / "a.onnx", "candidate": place / "a.onnx"}
        if tested == "inputs"
        else {"baseline": place / "judged" / "base", "candidate": place / "judged" / "other"}
        | (data if tested in ("classes", "data_root") else {}),
        "verify": {"bundle": bundle},
        "delta": {"held": place / "judged" / "base", "made": place / "judged" / "other"},
        "refit": {"bundle": place / "judged" / "base", "delta": place / "a.onnx"},
        "sign": {"bundle": bundle, "key": place / "key"},
        "predict": {"model": bundle}
        | (data if tested in ("classes", "data_root") else {"source": place / "yard" / "images"}),
        "report": {"paths": bundle, "out": place / "page.html"}
        | (data if tested != "paths" else {}),
    }.get(verb, {})  # fmt: skip


@pytest.mark.parametrize(("verb", "name"), READ)
def test_what_is_no_file_is_refused_by_name(
    verb: str, name: str, place: Path, tmp_path: Path
) -> None:
    command = dict(leaves(main))[verb]
    kind_of = read_by(command)[name].type
    file_only = isinstance(kind_of, click.Path) and not kind_of.dir_okay
    # What is no bundle does not hold: `verify` answers that with the code of a check.
    allowed = listed_codes() - ({0, 3, CRASH} if verb == "verify" else {0, 1, 3, CRASH})
    for kind in ("pipe", "device", "folder") if file_only else ("pipe", "device"):
        odd = tmp_path / f"odd-{kind}"
        if kind == "pipe":
            os.mkfifo(odd)
        elif kind == "device":
            odd.symlink_to("/dev/zero")
        else:
            odd.mkdir()
        given = values(place, verb, name) | {name: odd}
        line = [*verb.split(), *arguments(command, given, tmp_path / "out")]
        with limits():
            signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
            try:
                answer = CliRunner(env={"COLUMNS": "400"}).invoke(main, line)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        assert answer.exit_code in allowed, (line, answer.output)
        assert odd.name in answer.output, (line, answer.output)


def writing(place: Path, verb: str) -> dict[str, Any]:
    """What makes `verb` write its result as quickly as it can."""
    base, bundles = place / "base" / "model.safetensors", place / "judged"
    data = {"dataset": "cityscapes", "data_root": place / "data"}
    training = data | {"recipe": place / "tiny.toml", "workers": 0}
    pair = {"held": bundles / "base", "made": bundles / "other"}
    return {
        "data prepare-nyuv2": {"mat": place / "no.mat"},
        "data synthesize": {"train": 1, "val": 1, "seed": 7},
        "weights fetch": {"name": "no-such-weights"},
        "data convert": coco(place),
        "weights import": {"file": base, "network": "icnet", "num_classes": 19},
        "weights probe": data | {"file": base, "network": "torch.nn:Identity"},
        "train": training,
        "finetune": training | {"baseline": base},
        "experiment": training | {"baseline": base, "arms": "control", "seeds": 1},
        "evaluate": data | {"model": base},
        "export": {"checkpoint": base},
        "benchmark": {"model": bundles / "base", "duration_s": 0},
        "compare": {"baseline": bundles / "bundle", "budget_s": 1, "blocks": 2},
        "delta": pair,
        "refit": {"bundle": bundles / "base", "delta": place / "base.delta"},
        "predict": data | {"model": bundles / "bundle"},
        "report": {"paths": bundles / "bundle"},
    }[verb]


def contents(place: Path) -> dict[str, bytes]:
    """The bytes of every file at or below a path."""
    files = [place] if place.is_file() else [one for one in place.rglob("*") if one.is_file()]
    return {str(one): one.read_bytes() for one in files}


@pytest.mark.parametrize("verb", WRITING)
def test_what_lies_at_out_is_not_lost(verb: str, place: Path, tmp_path: Path) -> None:
    """A file for a folder, a folder for a file, what is somebody else's, and an earlier result."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    mine = contents(tmp_path)

    def carry_out(out: Path) -> int:
        line = arguments(dict(leaves(main))[verb], writing(place, verb) | {"out": out}, out)
        answer = CliRunner().invoke(main, [*verb.split(), *line])
        assert answer.exit_code in listed_codes() - {CRASH}, answer.output
        return answer.exit_code

    assert carry_out(folder if verb in FILES else file) not in (0, 1, 3)
    if verb not in FILES:
        carry_out(folder)
    assert contents(tmp_path).items() >= mine.items()
    if verb in TAKEN:
        before = contents(place / TAKEN[verb])
        assert carry_out(place / TAKEN[verb]) == 2
        assert contents(place / TAKEN[verb]) == before
