"""Every format that a command reads: a whole file, and the command that is given its damaged copy.

Where a command would train or measure for minutes, the function that reads the file for it is
called instead.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bundle_formats import bundles, forged, graphs
from one_format import Format, command, resealed_checkpoint, resealed_state
from own_network import Plain
from PIL import Image
from small_town import data, make_town
from test_caffemodel import layer
from test_nyuv2 import SMALL, published
from tiny import tiny_bundle

from artoolkit.data import DataSet, dataset_of
from artoolkit.data.camvid import NAMES
from artoolkit.data.prepare_nyuv2 import prepare
from artoolkit.errors import DownloadError
from artoolkit.evaluation.experiment import COLUMNS, markdown_table, read_rows, summarise
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.networks.download import fetch
from artoolkit.networks.weight_files import read_published
from artoolkit.report.curves import run_part
from artoolkit.training.decoded import Decoded
from artoolkit.training.recipe import load_recipe, toml_from_recipe

if TYPE_CHECKING:
    pass

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


def _picture(path: Path, mode: str, **how: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256 if mode == "RGB" else 2, (32, 48, 3))
    pixels = pixels.astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels if mode == "RGB" else pixels[..., 0])
    if mode == "P":
        picture.putpalette([128, 64, 128, 0, 0, 0])
    picture.save(path, **how)
    return path


def formats(folder: Path) -> Iterator[Format]:
    """All of them, with files made in `folder`; takes about ten seconds."""
    town = make_town(folder, epochs=1)
    groups = {
        "settings and lists": _settings(folder),
        "runs": _runs(folder, town / "base", town / "data"),
        "weights": _weights(folder, town / "base"),
        "images and videos": _pictures(folder),
        "graphs": graphs(folder),
        "bundles and keys": bundles(folder),
        "bundles, hashes put right": forged(folder),
    }
    for group, found in groups.items():
        yield from (replace(one, group=group) for one in found)


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
    street = folder / "camvid"
    for name in ("train/0001TP_1.png", "trainannot/0001TP_1.png"):
        _picture(street / name, "P" if "annot" in name else "RGB")
    pair = "/SegNet/train/0001TP_1.png /SegNet/trainannot/0001TP_1.png"
    lists = {"train.txt": pair, "classes.txt": "\n".join((*NAMES, "void"))}
    check = ("data", "check", street, "--dataset", "camvid", "--workers", "1")
    for name, text in lists.items():
        (street / name).write_text(f"{text}\n")
        yield Format(f"CamVid's {name}", street / name, "text", command(*check))
    yield Format("palette", street / "trainannot" / "0001TP_1.png", "png", command(*check))
    yield _decoded(folder, dataset_of("camvid", street))


def _decoded(folder: Path, dataset: DataSet) -> Format:
    kept = Decoded(dataset, folder / "decoded")
    (sample,) = kept.samples("train")

    def use() -> None:
        image = kept.read_image(sample)
        assert image.shape == (32, 48, 3) and image.dtype == np.uint8

    use()
    return Format("decoded image", next(kept.folder.rglob("*.npy")), "npy", use)


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
    state = base / "state" / "last.pt"
    yield Format("state", state, "zip", command(*resume), sealed=True)
    yield Format("state, sealed again", state, "zip", command(*resume), reseal=resealed_state)
    yield Format("metrics.jsonl", base / "metrics.jsonl", "lines", command(*page))
    yield Format("recipe of a run", base / "recipe.toml", "toml", lambda: run_part(base) and None)


def _weights(folder: Path, base: Path) -> Iterator[Format]:
    import safetensors.torch
    import torch

    model = base / "model.safetensors"
    weights, caffe, mat = folder / "net.pth", folder / "net.caffemodel", folder / "nyu.mat"
    names = [f"class {number}" for number in range(19)]
    torch.save({"state_dict": Plain(19).state_dict(), "meta": {"CLASSES": names}}, weights)
    caffe.write_bytes(layer("conv", [torch.randn(4, 3, 1, 2), torch.randn(4)])
                      + layer("old", [torch.randn(4, 3)]))  # fmt: skip
    random = np.random.default_rng(0)
    published(mat, random.integers(0, 256, (3, 6, 8, 3), np.uint8),
              random.integers(0, 4, (3, 6, 8), np.uint16))  # fmt: skip
    take = ("weights", "import", weights, "--network", "own_network:Plain", "--num-classes", 19,
            "--labels", "cityscapes", "--out", folder / "imported.safetensors")  # fmt: skip

    def read() -> None:
        read_checkpoint(model).network()

    yield Format("checkpoint", model, "tensors", read, sealed=True)
    yield Format("checkpoint, sealed again", model, "tensors", read, reseal=resealed_checkpoint)
    yield Format("published weights", weights, "zip", command(*take))
    old, safe = folder / "old.pth", folder / "net.safetensors"
    content = torch.load(weights, weights_only=True)
    torch.save(content, old, _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(content["state_dict"], safe)
    for path, kind in ((old, "binary"), (safe, "tensors")):
        again = (path if part == weights else part for part in take)
        yield Format(f"published {path.name}", path, kind, command(*again))
    yield _tag(folder)
    yield Format("caffemodel", caffe, "binary", lambda: read_published(caffe) and None)
    yield Format("NYUv2 .mat", mat, "binary",
                 lambda: prepare(mat, folder / "nyu", layout=SMALL) and None)  # fmt: skip


def _tag(folder: Path) -> Format:
    """What an earlier attempt left; nobody listens at the address."""
    tag = folder / "net.pth.part.tag"
    tag.with_suffix("").write_bytes(b"x")
    tag.write_text('"0-1"')

    def use() -> None:
        with contextlib.suppress(DownloadError):
            fetch("http://127.0.0.1:9/net.pth", folder / "net.pth")

    return Format("tag of a download", tag, "text", use)


def _video(path: Path) -> Path:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (48, 32))
    for value in range(0, 250, 50):
        writer.write(np.full((32, 48, 3), value, np.uint8))
    writer.release()
    return path


def _pictures(folder: Path) -> Iterator[Format]:
    bundle = tiny_bundle(folder / "predicting")
    turned = Image.Exif()
    turned[0x112] = 6
    kinds: dict[str, dict[str, Any]] = {"jpg": {"exif": turned}, "png": {}, "webp": {}, "bmp": {},
                                        "tiff": {"compression": "tiff_lzw"}, "ppm": {}}  # fmt: skip
    for ending, how in kinds.items():
        path = _picture(folder / "pictures" / f"a.{ending}", "RGB", **how)
        predict = ("predict", bundle.path, path, "--out", folder / "predicted")
        yield Format(f"picture .{ending}", path, ending, command(*predict))
    video = _video(folder / "a.avi")
    predict = ("predict", bundle.path, video, "--out", folder / "predicted")
    yield Format("video", video, "binary", command(*predict))
