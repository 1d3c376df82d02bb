"""A recipe of seconds and a trained baseline on six generated pictures, by the command line."""

from __future__ import annotations

from pathlib import Path

from artoolkit.cli import run


def tiny_recipe(
    epochs: int, *, crop: tuple[int, int] = (32, 64), optimizer: str = "lr = 0.05", every: int = 1
) -> str:
    """TOML of a narrow ICNet in fp32; `optimizer` are the lines of that table."""
    return f"""
name = "tiny"
[network]
name = "icnet"
options = {{ width = 0.125 }}
[augmentation]
crop = {list(crop)}
[schedule]
epochs = {epochs}
batch_size = 2
[optimizer]
{optimizer}
[evaluation]
every = {every}
[execution]
precision = "fp32"
"""


def make_town(folder: Path, *, epochs: int) -> Path:
    """`folder` with data/, tiny.toml and the baseline that it gives in base/."""
    (folder / "tiny.toml").write_text(tiny_recipe(epochs))
    made = ("data", "synthesize", str(folder / "data"), "--train", "4", "--val", "2")
    assert run((*made, "--imgsz", "64", "128")) == 0
    train = ("train", "--recipe", str(folder / "tiny.toml"), *data(folder))
    assert run((*train, "--out", str(folder / "base"))) == 0
    return folder


def data(town: Path) -> tuple[str, ...]:
    """The options of the town's data, read without workers."""
    return ("--dataset", "cityscapes", "--data-root", str(town / "data"), "--workers", "0")
