"""`.caffemodel` files written here, byte by byte, and read back: both layer forms, both kinds."""

import struct
from pathlib import Path

import pytest
import torch
from public_reference import reference
from torch import Tensor

from artoolkit.errors import CheckpointError
from artoolkit.networks import build
from artoolkit.networks.caffemodel import read_caffemodel
from artoolkit.networks.checkpoint import load_strictly
from artoolkit.networks.layouts import CAFFE
from artoolkit.networks.published import convert
from artoolkit.networks.weight_files import read_published


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(tensor: Tensor, *, legacy: bool = False) -> bytes:
    data = message(5, struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist()))
    if legacy:
        sizes = [1] * (4 - tensor.ndim) + list(tensor.shape)
        return b"".join(varint(n << 3) + varint(s) for n, s in enumerate(sizes, 1)) + data
    return data + message(7, message(1, b"".join(map(varint, tensor.shape))))


def layer(name: str, blobs: list[Tensor], *, old: bool = False) -> bytes:
    name_field, blob_field, layer_field = (4, 6, 2) if old else (1, 7, 100)
    kind = varint(5 << 3) + varint(4) if old else message(2, b"Convolution")
    content = message(name_field, name.encode()) + kind
    content += b"".join(message(blob_field, blob(tensor, legacy=old)) for tensor in blobs)
    return message(layer_field, content)


@pytest.mark.parametrize("old", [False, True])
def test_layers_of_both_forms(tmp_path: Path, old: bool) -> None:
    weight, bias = torch.randn(4, 3, 1, 2), torch.randn(4)
    norm = [torch.randn(1, 5, 1, 1) for _ in range(4)]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(
        message(1, b"a name")
        + layer("data", [], old=old)
        + layer("conv", [weight, bias], old=old)
        + layer("conv/bn", norm, old=old)
        + layer("plain", [weight], old=old)
    )
    state = read_caffemodel(path)
    kinds = ("weight", "bias", "running_mean", "running_var")
    assert set(state) == {
        "conv.weight", "conv.bias", "plain.weight", *(f"conv/bn.{kind}" for kind in kinds)
    }  # fmt: skip
    assert torch.equal(state["conv.weight"], weight)
    assert torch.equal(state["conv.bias"], bias)
    for kind, tensor in zip(kinds, norm, strict=True):
        assert torch.equal(state[f"conv/bn.{kind}"], tensor.flatten())


def test_cut_off_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    whole = layer("conv", [torch.randn(4, 3, 1, 2)])
    for content in (whole[:-1], whole[: len(whole) // 2], b"\xff" * 20, b"<html>"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a caffemodel, or it is cut off"):
            read_caffemodel(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="without weights"):
        read_caffemodel(path)


def test_numbers_that_do_not_fill_the_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    wrong = message(5, struct.pack("<3f", 1, 2, 3)) + message(7, message(1, varint(4)))
    path.write_bytes(message(100, message(1, b"conv") + message(7, wrong)))
    with pytest.raises(CheckpointError, match=r"3 numbers for shape \[4\]"):
        read_caffemodel(path)


def caffe_layers(network: torch.nn.Module, *, merged: bool) -> bytes:
    """The network's weights as hszhao/ICNet would publish them, normalisation merged or not."""
    own = {key: value for key, value in network.state_dict().items() if value.ndim}
    named = {key: own[CAFFE.rename(key)] for key in reference("caffe_icnet").shapes}
    out = b""
    for key in [key for key in named if key.endswith(".weight") and "/bn" not in key]:
        name = key.removesuffix(".weight")
        if f"{name}.bias" in named:
            out += layer(name, [named[key], named[f"{name}.bias"]])
            continue
        kinds = ("weight", "bias", "running_mean", "running_var")
        slope, bias, mean, variance = (named[f"{name}/bn.{kind}"] for kind in kinds)
        if merged:
            scale = slope / (variance + 1e-5).sqrt()
            out += layer(name, [named[key] * scale[:, None, None, None], bias - mean * scale])
        else:
            shaped = [t.reshape(1, -1, 1, 1) for t in (slope, bias, mean, variance)]
            out += layer(name, [named[key]]) + layer(f"{name}/bn", shaped)
    return out


@pytest.mark.parametrize("merged", [False, True])
def test_icnet_from_a_caffemodel(tmp_path: Path, merged: bool) -> None:
    torch.manual_seed(0)
    options = {"num_classes": 3, "layout": "caffe", "width": 0.0625}
    source = build("icnet", **options)
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
    path = tmp_path / "icnet_cityscapes_own.caffemodel"
    path.write_bytes(caffe_layers(source, merged=merged))
    imported = build("icnet", **options)
    load_strictly(imported, convert(read_published(path).state, "caffe"), str(path))
    image = torch.randn(1, 3, 129, 161)
    with torch.inference_mode():
        expected, scores = source.eval()(image), imported.eval()(image)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert not imported.aux_8.weight.any()
