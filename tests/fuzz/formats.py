"""Every format that a command reads: a whole file, and the command that is given its damaged copy.

Where a command would train or measure for minutes, the function that reads the file for it is
called instead.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from judged import judged_bundle
from mutations import damaged, damaged_values
from PIL import Image
from small_town import data, make_town
from test_caffemodel import layer
from test_nyuv2 import SMALL, published
from tiny import HEIGHT, WIDTH, tiny_bundle, write_tiny

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cli import main
from artoolkit.cost.opening import read_feeds
from artoolkit.data.prepare_nyuv2 import prepare
from artoolkit.evaluation.experiment import COLUMNS, markdown_table, read_rows, summarise
from artoolkit.evidence.keys import new_key
from artoolkit.evidence.seal import canonical, file_sha256, seal, write_sealed
from artoolkit.graph.identity import compare_graphs, weights_by_rule
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.networks.weight_files import read_published
from artoolkit.training.recipe import load_recipe, toml_from_recipe

RUNS_ROW = {"arm": "control", "ar_weight": 0, "seed": 1, "epochs": 1, "mIoU": 40.0, "step_s": 0.1}
CLASSES = """name = "yard"
void = [255]
labels_by = "id"
[splits.train]
images = "images"
labels = "labels"
[patterns]
image = "*.png"
label = "*.png"
[[classes]]
name = "ground"
id = 0
color = [128, 64, 128]
[[classes]]
name = "person"
id = 1
"""


@dataclass(frozen=True)
class Format:
    """A file at `path`, how it is damaged, and what reads it.

    `use` returns an exit code, or raises what a command turns into one. `sealed`: the file's hash
    stands elsewhere, so that no damaged copy may be accepted with exit code 0.
    """

    name: str
    path: Path
    kind: str
    use: Callable[[], int | None]
    sealed: bool = False
    mend: Callable[[], None] | None = None
    resealed: bool = False

    def damage(self, random: Random, content: bytes) -> bytes:
        if not self.resealed:
            return damaged(random, content, self.kind)
        return canonical_or_raw(damaged_values(random, json.loads(content)))


def canonical_or_raw(values: Any) -> bytes:
    """Sealed as artoolkit does, with the right hash, where the values can be sealed."""
    try:
        return canonical(seal(values))
    except (ValueError, TypeError, AttributeError):
        return json.dumps(values).encode("utf-8", "surrogatepass")


def command(*arguments: object) -> Callable[[], int]:
    """The exit code of a command line, as a shell sees it."""

    def use() -> int:
        try:
            main.main(args=[str(argument) for argument in arguments])
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return use


def _picture(path: Path, mode: str, **how: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 2 if mode == "L" else 256, (32, 48, 3))
    pixels = pixels.astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels).save(path, **how)
    return path


def _rehash(evidence: Path, changed: str) -> Callable[[], None]:
    """Put every hash of a record right, in the verdict and in the index, as a forger does."""
    verdict = json.loads((evidence / "verdict.json").read_bytes())
    index = json.loads((evidence / "index.json").read_bytes())

    def mend() -> None:
        if changed in verdict["measurements"]:
            record = parse(evidence / changed)
            told = {changed: record.get("sha256", "")}
            write_sealed(evidence / "verdict.json",
                         verdict | {"measurements": verdict["measurements"] | told})  # fmt: skip
        if changed != "index.json":
            files = {name: file_sha256(evidence / name) for name in index["files"]}
            write_sealed(evidence / "index.json", index | {"files": files})

    return mend


def parse(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {}


def formats(folder: Path) -> Iterator[Format]:
    """All of them, with files made in `folder`; takes about ten seconds."""
    town = make_town(folder, epochs=1)
    base, labels = town / "base", town / "data"
    yield from _settings(folder)
    yield from _runs(folder, base, labels)
    yield from _weights(folder, base)
    yield from _pictures(folder)
    yield from _bundles(folder)


def _settings(folder: Path) -> Iterator[Format]:
    from artoolkit.targets import find_target, list_targets

    recipe, target = folder / "recipe.toml", folder / "target.toml"
    shutil.copy(folder / "tiny.toml", recipe)
    shutil.copy(list_targets()["cpu"], target)
    yard = folder / "yard"
    for i in range(2):
        _picture(yard / "images" / f"{i}.png", "RGB")
        _picture(yard / "labels" / f"{i}.png", "L")
    (yard / "classes.toml").write_text(CLASSES)
    check = ("data", "check", yard, "--dataset", "folder", "--workers", "1")
    yield Format("recipe", recipe, "toml", lambda: toml_from_recipe(load_recipe(recipe)) and None)
    yield Format("target", target, "toml", lambda: find_target(target) and None)
    yield Format("classes", yard / "classes.toml", "toml", command(*check))
    yield Format("label", yard / "labels" / "0.png", "png", command(*check))
    yield Format("image", yard / "images" / "0.png", "png", command(*check))


def _table(rows: Path) -> None:
    markdown_table(summarise(read_rows(rows), metrics=tuple(COLUMNS)))


def _runs(folder: Path, base: Path, town: Path) -> Iterator[Format]:
    rows = folder / "runs.jsonl"
    rows.write_text("".join(json.dumps(RUNS_ROW | {"seed": seed}) + "\n" for seed in (1, 2, 3)))
    synthesize = ("data", "synthesize", town, "--train", 4, "--val", 2, "--imgsz", 64, 128)
    resume = ("train", "--resume", "--out", base, *data(folder))
    page = ("report", base, "--out", folder / "run.html")
    yield Format(
        "runs.jsonl", rows, "lines", lambda: markdown_table(summarise(read_rows(rows))) and None
    )
    yield Format("synthetic.json", town / "synthetic.json", "json", command(*synthesize))
    yield Format("state", base / "state" / "last.pt", "zip", command(*resume))
    yield Format("metrics.jsonl", base / "metrics.jsonl", "lines", command(*page))


def _weights(folder: Path, base: Path) -> Iterator[Format]:
    import torch

    model = base / "model.safetensors"
    weights, caffe, mat = folder / "net.pth", folder / "net.caffemodel", folder / "nyu.mat"
    torch.save({"state_dict": read_checkpoint(model).state, "meta": {"CLASSES": ["a"]}}, weights)
    caffe.write_bytes(layer("conv", [torch.randn(4, 3, 1, 2), torch.randn(4)])
                      + layer("old", [torch.randn(4, 3)]))  # fmt: skip
    random = np.random.default_rng(0)
    published(mat, random.integers(0, 256, (3, 6, 8, 3), np.uint8),
              random.integers(0, 4, (3, 6, 8), np.uint16))  # fmt: skip
    take = ("weights", "import", weights, "--network", "icnet", "--option", "width=0.125",
            "--num-classes", 19, "--out", folder / "imported.safetensors")  # fmt: skip
    yield Format("checkpoint", model, "tensors", lambda: read_checkpoint(model).network() and None)
    yield Format("published weights", weights, "zip", command(*take))
    yield Format("caffemodel", caffe, "binary", lambda: read_published(caffe) and None)
    yield Format("NYUv2 .mat", mat, "binary",
                 lambda: prepare(mat, folder / "nyu", layout=SMALL) and None)  # fmt: skip


def _pictures(folder: Path) -> Iterator[Format]:
    bundle = tiny_bundle(folder / "predicting")
    for ending, how in (("jpg", {}), ("png", {}), ("tiff", {"compression": "tiff_lzw"}),
                        ("webp", {}), ("bmp", {}), ("ppm", {})):  # fmt: skip
        path = _picture(folder / "pictures" / f"a.{ending}", "RGB", **how)
        predict = ("predict", bundle.path, path, "--out", folder / "predicted")
        yield Format(f"picture .{ending}", path, ending, command(*predict))


def _same_graph(one: Path, other: Path) -> int:
    models = [load_onnx(path, "the graph check") for path in (one, other)]
    return len(compare_graphs(*models, *map(weights_by_rule, models))) and 1


def _bundles(folder: Path) -> Iterator[Format]:
    plain = tiny_bundle(folder / "plain").path
    verify = command("verify", plain)
    yield Format("golden.npz", plain / "golden.npz", "zip", verify, sealed=True)
    yield Format("model.onnx", plain / "model.onnx", "binary", verify, sealed=True)
    inputs, other = folder / "inputs.npz", write_tiny(folder / "other.onnx")
    np.savez(inputs, image=np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    one = write_tiny(folder / "one.onnx", seed=1)
    yield Format("two .onnx", other, "binary", lambda: _same_graph(one, other))
    with open_onnxruntime(one, threads=1) as runner:
        spec = runner.spec
    yield Format("inputs.npz", inputs, "zip", lambda: read_feeds(inputs, spec) and None)

    bundle = judged_bundle(folder / "judged")
    judged, (proof,) = bundle.path, bundle.proofs
    key = folder / "release.key"
    public = new_key(key)
    signed = folder / "signed"
    shutil.copytree(judged, signed)
    assert command("sign", signed, "--key", key)() == 0
    verify = command("verify", signed, "--require-signature", public)
    for path in sorted(signed.rglob("*.json")):
        # The folder of a proof is named by the time.
        name = str(path.relative_to(signed)).replace(f"{proof.name}/", "")
        # An envelope may carry more than what is signed, such as a second signature.
        yield Format(name, path, "json", verify, sealed=name != "signature.json")
    yield Format("plan", next(signed.glob("engines/*.plan")), "binary", verify, sealed=True)
    yield Format("public key", public, "binary", verify)
    yield Format("private key", key, "binary", command("sign", signed, "--key", key))
    for path in sorted(judged.rglob("*.json")):
        name = path.name
        if path.parent.name != "baseline":
            yield Format(f"{name}, sealed again", path, "json", command("verify", judged),
                         mend=_rehash(proof, path.name), resealed=True)  # fmt: skip
    content = folder / "report.json"
    assert command("report", judged, "--out", folder / "r.html", "--json", content)() == 0
    page = command("report", content, "--out", folder / "again.html", "--markdown", folder / "r.md")
    yield Format("report JSON", content, "json", page)
    yield Format("report JSON, sealed again", content, "json", page, resealed=True)
