"""Importing weights: layouts, wrappers, prefixes, and everything that can be wrong with a file."""

from pathlib import Path
from random import Random

import pytest
import safetensors.torch
import torch
from public_reference import reference
from torch import nn

from artoolkit.errors import CheckpointError, UsageError
from artoolkit.networks import bisenetv1, build, pidnet
from artoolkit.networks.checkpoint import load_strictly, state_differences
from artoolkit.networks.published import (
    convert,
    detect,
    load_trunk,
    trunk_state,
)
from artoolkit.networks.weight_files import read_published, unwrap

LAYOUT_FILES = {
    "mmseg_pspnet_r50": ("pspnet50", "mmseg"),
    "mmseg_icnet_r18": ("icnet_r18", "mmseg"),
    "semseg_pspnet50": ("pspnet50", "semseg"),
    "drsleep_rf_lw50": ("refinenet_lw50", "drsleep"),
    "drsleep_rf_lwmbv2": ("refinenet_lw_mbv2", "drsleep"),
    "caffe_icnet": ("icnet", "caffe"),
}


@pytest.mark.parametrize("name", LAYOUT_FILES)
def test_every_layout_is_recognised_and_fits_its_network(name: str) -> None:
    network_name, layout = LAYOUT_FILES[name]
    stored = reference(name)
    state = stored.hollow_state()
    assert detect(state) == layout
    with torch.device("meta"):
        network = build(network_name, num_classes=stored.classes, layout=layout)
    assert state_differences(network.state_dict(), convert(state)) == []


def test_wrappers_prefixes_and_missing_counters() -> None:
    state = {"a.running_mean": torch.ones(2), "a.weight": torch.ones(2)}
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    for content in (state, wrapped, {"model": wrapped, "optimizer": {"lr": 1}}):
        unwrapped = unwrap(content)
        assert set(unwrapped) == {*state, "a.num_batches_tracked"}
        assert torch.equal(unwrapped["a.weight"], state["a.weight"])
        assert unwrapped["a.num_batches_tracked"].dtype is torch.int64
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert set(unwrap(mixed)) == set(mixed)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [1], {"meta": 1}, None])
def test_no_weights_is_said(content: object) -> None:
    with pytest.raises(CheckpointError, match="no weights found"):
        unwrap(content)


def test_another_layout_than_stated_and_an_unknown_one() -> None:
    state = reference("drsleep_rf_lwmbv2").hollow_state()
    with pytest.raises(CheckpointError, match="another layout than stated; got drsleep; expected"):
        convert(state, "mmseg")
    with pytest.raises(UsageError, match="unknown layout; got 'keras'"):
        convert(state, "keras")
    with pytest.raises(CheckpointError, match="no layout that artoolkit knows; got keys such as x"):
        convert({"x": torch.zeros(1)})


def test_what_does_not_fit_is_named_once_each() -> None:
    state = reference("drsleep_rf_lwmbv2").hollow_state()
    del state["layer3.0.output.1.0.weight"]
    state["layer9.0.weight"] = torch.empty(1, device="meta")
    with torch.device("meta"):
        network = build("refinenet_lw_mbv2", num_classes=21, layout="drsleep")
    with pytest.raises(CheckpointError) as raised:
        load_strictly(network, convert(state, "drsleep"), "weights.pth")
    message = str(raised.value)
    assert "1 missing: trunk.layers.1.0.depthwise.conv.weight" in message
    assert "1 left over: layer9.0.weight" in message
    assert "classifier.weight (40, 256, 3, 3) instead of (21, 256, 3, 3)" in message
    assert "with 21 classes" in message


def test_files_torch_wrote_old_and_new_and_safetensors(tmp_path: Path) -> None:
    state = {"weight": torch.arange(3.0)}
    meta = {"CLASSES": ("road", "sky"), "PALETTE": [[1, 2, 3], [4, 5, 6]]}
    for new in (True, False):
        path = tmp_path / f"{new}.pth"
        torch.save({"meta": meta, "state_dict": state}, path, _use_new_zipfile_serialization=new)
        published = read_published(path)
        assert torch.equal(published.state["weight"], state["weight"])
        assert published.classes == ("road", "sky")
        assert published.palette == ((1, 2, 3), (4, 5, 6))
    torch.save({"meta": meta | {"PALETTE": [1, 2]}, "state_dict": state}, path)
    assert read_published(path).palette is None
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.torch.save(state))
    published = read_published(path)
    assert torch.equal(published.state["weight"], state["weight"])
    assert published.classes is None


class Ran:
    """Unpickling this would be running code."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return pytest.fail, ("code of the file was run",)


def test_files_that_would_run_code_or_are_cut_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for new in (True, False):
        torch.save({"state_dict": {}, "extra": Ran()}, path, _use_new_zipfile_serialization=new)
        with pytest.raises(CheckpointError, match="holds more than weights") as raised:
            read_published(path)
        assert "\n" not in str(raised.value)
    torch.save({"weight": torch.zeros(100)}, path)
    whole = path.read_bytes()
    for content in (whole[:-200], whole[:300]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"torch file .*weights\.pth cannot be read"):
            read_published(path)
    torch.save({"weight": torch.zeros(100)}, path, _use_new_zipfile_serialization=False)
    damaged = bytearray(path.read_bytes())
    random = Random(0)
    refused = 0
    for _ in range(100):
        damaged[random.randrange(len(damaged) - 400)] = random.randrange(256)
        path.write_bytes(damaged)
        try:
            read_published(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match="a web page"):
        read_published(path)
    with pytest.raises(CheckpointError, match="no weights at"):
        read_published(tmp_path / "absent.pth")


def torchvision_resnet() -> dict[str, torch.Tensor]:
    """torchvision's ResNet-50 by its keys: those of Light-Weight RefineNet's trunk, and fc."""
    stored = reference("drsleep_rf_lw50")
    trunk = {
        key: torch.full(shape, 0.5) if shape else torch.zeros((), dtype=torch.int64)
        for key, shape in stored.shapes.items()
        if key.startswith(("conv1.", "bn1.", "layer"))
    }
    return {**trunk, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}


def test_imagenet_trunk_fills_the_trunk_and_nothing_else() -> None:
    network = build("refinenet_lw50", num_classes=3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_trunk(network, {"state_dict": torchvision_resnet()})
    for key, value in network.state_dict().items():
        if key.startswith("trunk.") and value.is_floating_point():
            assert (value == 0.5).all(), key
        else:
            assert torch.equal(value, before[key]), key


def test_v1c_trunk_fits_the_deep_stem_and_torchvisions_does_not() -> None:
    with torch.device("meta"):
        network = build("pspnet50", num_classes=3)
    shapes = reference("mmseg_pspnet_r50").hollow_state()
    trunk = {
        key.removeprefix("backbone."): value
        for key, value in shapes.items()
        if key.startswith("backbone.")
    }
    expected = {k: v for k, v in network.state_dict().items() if k.startswith("trunk.")}
    assert state_differences(expected, trunk_state(trunk)) == []
    assert state_differences(expected, convert(trunk, "torchvision")) == []
    with pytest.raises(CheckpointError, match=r"not of the trunk of pspnet50.*trunk\.stem\.0"):
        load_trunk(network, torchvision_resnet())


def torchvision_mobilenet() -> dict[str, torch.Tensor]:
    """torchvision's MobileNet-v2 by its published structure: no expansion in the first block."""
    state: dict[str, torch.Tensor] = {}

    def conv_norm(conv: str, norm: str, out: int, inner: int, kernel: int) -> None:
        state[f"{conv}.weight"] = torch.randn(out, inner, kernel, kernel)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{kind}"] = torch.rand(out) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)

    conv_norm("features.0.0", "features.0.1", 32, 3, 3)
    channels, index = 32, 1
    for expansion, out, depth in (
        (1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)
    ):  # fmt: skip
        for _ in range(depth):
            wide, block, part = channels * expansion, f"features.{index}.conv", 0
            if expansion > 1:
                conv_norm(f"{block}.0.0", f"{block}.0.1", wide, channels, 1)
                part = 1
            conv_norm(f"{block}.{part}.0", f"{block}.{part}.1", wide, 1, 3)
            conv_norm(f"{block}.{part + 1}", f"{block}.{part + 2}", out, wide, 1)
            channels, index = out, index + 1
    conv_norm("features.18.0", "features.18.1", 1280, 320, 1)
    return {**state, "classifier.1.weight": torch.zeros(1000, 1280)}


def test_mobilenet_trunk_gets_the_missing_expansion_as_identity() -> None:
    network = build("refinenet_lw_mbv2", num_classes=3).eval()
    state = torchvision_mobilenet()
    load_trunk(network, state)
    block = network.trunk.layers[0][0]
    x = 6 * torch.rand(1, 32, 4, 4)
    with torch.inference_mode():
        torch.testing.assert_close(block.expand(x), x)
    last = network.trunk.layers[6][0]
    assert torch.equal(last.project.conv.weight, state["features.17.conv.2.weight"])
    assert torch.equal(last.depthwise.norm.bias, state["features.17.conv.1.1.bias"])


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("backbone.patch_embed1.proj.weight", "NVlabs/SegFormer"),
        ("cp.backbone.features.0.conv.weight", "MichaelFan01/STDC-Seg"),
    ],
)
def test_weights_of_another_function_are_refused_by_name(key: str, source: str) -> None:
    with pytest.raises(CheckpointError, match=f"{source}, which is another function: "):
        convert({key: torch.zeros(1)})


def test_keys_of_the_larger_networks_in_their_authors_code() -> None:
    """Their files differ from PIDNet-S and DDRNet-23-slim, whose values are tested, in these."""
    for key, expected in (
        ("layer4_d.conv1.weight", "d_branch_layers.1.conv1.conv.weight"),
        ("layer4_d.bn2.bias", "d_branch_layers.1.conv2.norm.bias"),
        ("layer5_d.0.downsample.1.weight", "d_branch_layers.2.0.shortcut.norm.weight"),
        ("spp.process1.0.weight", "spp.processes.0.norm.weight"),
        ("spp.process4.2.weight", "spp.processes.3.conv.weight"),
        ("dfm.conv.0.running_mean", "dfm.conv.norm.running_mean"),
        ("dfm.conv.2.weight", "dfm.conv.conv.weight"),
    ):
        assert pidnet.AUTHORS.rename(key) == f"trunk.{expected}"
    with torch.device("meta"):
        own = set(build("pidnet_l", num_classes=19).state_dict())
    assert {"trunk.dfm.conv.conv.weight", "trunk.spp.processes.3.conv.weight"} <= own


def test_the_authors_pidnet_files_hold_the_loss_beside_the_network() -> None:
    stored = reference("xujiacong_pidnet_s")
    state = {f"model.{key}": value for key, value in stored.state().items()}
    state["sem_loss.criterion.weight"] = torch.ones(19)
    plain = convert(stored.state(), "xujiacong")
    wrapped = convert(state)
    assert wrapped.keys() == plain.keys()
    assert all(torch.equal(wrapped[key], plain[key]) for key in plain)


def test_coincheungs_bisenetv1_is_an_option_and_no_renaming() -> None:
    """Its fusion has no ReLU before the sigmoid; the keys of both are all that differs else."""
    mmseg = reference("mmseg_bisenetv1_r18")
    ours = {bisenetv1.MMSEG.rename(key) for key in mmseg.shapes}
    parts = {"arm32": "arms.0", "arm16": "arms.1"}
    theirs = {
        **{f"cp.{arm}.bn_atten.weight": f"context.{own}.gate.norm.weight"
           for arm, own in parts.items()},
        "cp.conv_head16.conv.weight": "context.convs.1.conv.weight",
        "cp.conv_avg.bn.bias": "context.conv_avg.norm.bias",
        "cp.resnet.layer2.0.downsample.1.weight": "trunk.layer2.0.shortcut.norm.weight",
        "cp.resnet.bn1.running_var": "trunk.stem.0.norm.running_var",
        "sp.conv_out.conv.weight": "spatial.3.conv.weight",
        "ffm.bn.weight": "fusion.gate.norm.weight",
        "conv_out.conv_out.bias": "head.classifier.bias",
        "conv_out32.conv.conv.weight": "aux_16.conv.conv.weight",
    }  # fmt: skip
    for key, expected in theirs.items():
        assert bisenetv1.COINCHEUNG.rename(key) == expected
        assert expected in ours
    acts = [
        type(build("bisenetv1_r18", num_classes=3, layout=layout, width=0.125).fusion.gate.act)
        for layout in (None, "mmseg", "coincheung")
    ]
    assert acts == [nn.ReLU, nn.ReLU, nn.Identity]
