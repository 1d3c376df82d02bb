"""Commands that are killed before, and in the middle of, every step that changes a file.

After each the state on the disk has to be the whole old one or a whole new one, and the same
command goes on. What takes long and writes nothing (a measurement, a graph from a network) is done
once and given again.

    python tests/fuzz/crashes.py --machine x86-2core
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from crashing import every_crash
from judged import QUICK, judged_bundle
from rich.console import Console
from streets import TINY, Streets
from test_run import Interrupts, same_run
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit import exporting
from artoolkit.checks import compare as comparing
from artoolkit.checks import registry
from artoolkit.checks.compare import compare
from artoolkit.checks.registry import CHECKS
from artoolkit.deploy import export as deploying
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.keys import new_key, read_private_key, read_public_key
from artoolkit.evidence.records import read_record
from artoolkit.evidence.signature import check_signature, sign_bundle
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.training.display import ExperimentBar
from artoolkit.training.experiment import Experiment, Run, common_recipe, run_experiment
from artoolkit.training.recipe import recipe_from_values
from artoolkit.training.run import resume, start
from artoolkit.training.state import MODEL, STATE, read_state

OLD, NEW, BETWEEN = "old", "new", "between"


@dataclass(frozen=True)
class Journey:
    """A command, how its old state is restored, and `state`: the name of the whole one it left.

    `go_on` is the same command after the crash, which has to end in the state "new".
    """

    name: str
    restore: Callable[[], None]
    act: Callable[[], object]
    state: Callable[[], str]
    go_on: Callable[[], object]

    def count(self, *, each: int = 1) -> Counter[str]:
        """The states after a crash at every `each`-th step; `AssertionError` for half a state."""
        found: Counter[str] = Counter()
        for _ in every_crash(self.act, self.restore, each=each):
            found[self.state()] += 1
            self.go_on()
            assert self.state() == NEW, f"{self.name} did not go on"
        assert self.state() == NEW, f"{self.name} was not carried out"
        return found


def restored(kept: Path | None, place: Path) -> Callable[[], None]:
    """Puts a copy of the folder `kept`, or nothing, in the place of `place`."""

    def restore() -> None:
        for left in place.parent.glob(f"*{place.name}*"):
            shutil.rmtree(left)
        if kept is not None:
            shutil.copytree(kept, place)

    return restore


def journeys(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Journey]:
    """All of them, with what they start from made in `folder`."""
    streets, recipe = Streets(count=2), recipe_from_values(TINY, "tiny")
    whole, stopped = folder / "whole", folder / "stopped"
    start(recipe, streets, whole)
    start(recipe, streets, stopped, watcher=Interrupts(1))
    yield _training("train", folder / "run", None, whole)
    yield _training("train --resume", folder / "run", stopped, whole)
    trained = read_checkpoint(whole / MODEL)
    yield _experiment(folder / "experiment", trained)
    yield _export(folder, trained, patch)
    yield from of_bundles(folder)


def of_bundles(folder: Path) -> Iterator[Journey]:
    """Those that change a bundle that is there."""
    bundle = judged_bundle(folder / "judged")
    yield _compare(bundle, folder / "judged bundle")
    yield _sign(bundle, folder)


def _training(name: str, out: Path, kept: Path | None, whole: Path) -> Journey:
    """The run that ends as `whole`, from nothing or from the stopped one in `kept`."""
    streets, recipe = Streets(count=2), recipe_from_values(TINY, "tiny")
    first = read_state(kept).progress if kept else None

    def state() -> str:
        if not (out / STATE).exists():
            assert kept is None
            return OLD
        if (out / MODEL).exists():
            read_checkpoint(out / MODEL).network()
        progress = read_state(out).progress
        if progress.epoch == recipe.schedule.epochs:
            assert same_run(out, whole)
            return NEW
        return OLD if progress == first else BETWEEN

    def go_on() -> object:
        return resume(out, streets) if (out / STATE).exists() else start(recipe, streets, out)

    return Journey(name, restored(kept, out), go_on, state, go_on)


def _experiment(out: Path, baseline: Checkpoint) -> Journey:
    """The control of one seed, to its row."""
    recipe = recipe_from_values(TINY, "tiny", changes={"schedule.epochs": 1})
    one = Experiment(common=common_recipe(recipe), baseline=baseline, dataset=Streets(count=2),
                     out=out, keep_models=False)  # fmt: skip

    def act() -> None:
        with ExperimentBar(Console(file=io.StringIO())) as bar:
            assert run_experiment(one, [Run("control", 0.0, 1)], bar)

    restored(None, out)()
    act()
    (row,) = one.rows

    def state() -> str:
        if not one.rows:
            return OLD
        (found,) = one.rows
        assert {k: v for k, v in found.items() if k[-2:] != "_s"} == {
            k: v for k, v in row.items() if k[-2:] != "_s"
        }
        return NEW

    return Journey("experiment", restored(None, out), act, state, act)


def _export(folder: Path, trained: Checkpoint, patch: pytest.MonkeyPatch) -> Journey:
    """A bundle with its baseline and a verdict, over one of fewer images."""
    out, kept = folder / "exported", folder / "kept bundle"
    graph = onnx.load(write_tiny(folder / "tiny.onnx"))
    labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    patch.setattr(deploying, "graph_from_checkpoint", lambda *_: (graph, ("conv.weight",)))
    patch.setattr(deploying, "trained_labels", lambda *given: labels[: len(given[2])])
    patch.setattr(exporting, "measured_outputs", lambda *_: None)

    def act(images: int = 2) -> None:
        with pytest.MonkeyPatch.context() as unmeasured:
            unmeasured.setattr(registry, "CHECKS", [])
            exporting.export(trained, out=out, baseline=trained, imgsz=(HEIGHT, WIDTH),
                             golden=images, overwrite=True)  # fmt: skip

    act(images=1)
    out.rename(kept)

    def state() -> str:
        assert file_problems(out) == []
        bundle = open_bundle(out)
        if len(bundle.golden()["images"]) == 1:
            assert len(bundle.proofs) == 1
            return OLD
        return NEW if bundle.proofs else BETWEEN

    return Journey("export --overwrite", restored(kept, out), act, state, act)


def _compare(judged: Bundle, out: Path) -> Journey:
    """A second verdict, of the measurements of the first."""
    (proof,) = judged.proofs
    found = {
        kind.name: {name: read_record(proof / name, record)
                    for name, record in kind.records.items() if (proof / name).is_file()}
        for kind in CHECKS
    }  # fmt: skip
    again = [replace(kind, measure=lambda _, n=kind.name: found[n] or None) for kind in CHECKS]

    def act() -> None:
        with pytest.MonkeyPatch.context() as measured:
            for place in (comparing, registry):
                measured.setattr(place, "CHECKS", again)
            compare(open_bundle(out), plan=QUICK)

    def state() -> str:
        assert file_problems(out) == []
        proofs = open_bundle(out).proofs
        assert proofs[-1].name == proof.name
        return NEW if len(proofs) > 1 else OLD

    return Journey("compare", restored(judged.path, out), act, state, act)


def _sign(judged: Bundle, folder: Path) -> Journey:
    """Another key's signature in the place of an older one."""
    out, kept = folder / "signed bundle", folder / "kept signed"
    shutil.copytree(judged.path, kept)
    keys = [new_key(folder / name) for name in ("old.key", "new.key")]
    private = [read_private_key(key.with_suffix(""), passphrase=str) for key in keys]
    sign_bundle(kept, private[0])

    def act() -> None:
        sign_bundle(out, private[1])

    def state() -> str:
        assert file_problems(out) == []
        held = [check_signature(out, read_public_key(key)).result == "PASS" for key in keys]
        assert sum(held) == 1
        return NEW if held[1] else OLD

    return Journey("sign", restored(kept, out), act, state, act)
