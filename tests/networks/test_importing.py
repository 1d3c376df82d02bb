"""Published files to checkpoints: labels, normalisation and origin are recorded."""

import re
from pathlib import Path

import pytest
import torch
from public_reference import NARROW, TRUNKS, imagenet_trunk, narrow_published, reference
from safetensors.torch import save_file

from artoolkit.data import cityscapes, nyuv2
from artoolkit.deploy.untrained import numbered_classes
from artoolkit.errors import CheckpointError, DownloadError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import read_checkpoint, write_checkpoint
from artoolkit.networks.importing import (
    checkpoint_from_published,
    labels_of,
    trunk_from_published,
)
from artoolkit.networks.published import convert, load_trunk, trunk_state
from artoolkit.networks.sources import source_named
from artoolkit.networks.weight_files import Published

THREE = LabelTable(name="three", names=tuple("abc"), colors=((1, 2, 3),) * 3, file_ids=(0, 1, 2))


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "rf_lwmbv2.pth"
    torch.save({"state_dict": reference("drsleep_rf_lwmbv2").state()}, path)
    return path


def test_import_records_what_the_weights_are(mobilenet_file: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_from_published(
        mobilenet_file, network="refinenet_lw_mbv2", num_classes=40
    )
    meta = checkpoint.meta
    assert (meta.network, meta.layout, meta.num_classes) == ("refinenet_lw_mbv2", "drsleep", 40)
    assert meta.labels == nyuv2.LABELS
    assert meta.provenance == {
        "file": "rf_lwmbv2.pth", "sha256": file_sha256(mobilenet_file), "layout": "drsleep"
    }  # fmt: skip
    write_checkpoint(tmp_path / "model.safetensors", checkpoint)
    network = read_checkpoint(tmp_path / "model.safetensors").network()
    stored = reference("drsleep_rf_lwmbv2")
    with torch.inference_mode():
        scores = network(stored.image).flatten().numpy()[stored.index]
    assert abs(scores - stored.value).max() < 1e-4 * abs(stored.value).max()


def test_wrong_class_count_and_wrong_network_are_said(mobilenet_file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"segm.bias \(40,\) instead of \(19,\)"):
        checkpoint_from_published(mobilenet_file, network="refinenet_lw_mbv2", num_classes=19)
    with pytest.raises(CheckpointError, match="Give --network refinenet_lw_mbv2"):
        checkpoint_from_published(mobilenet_file, network="icnet", num_classes=40)
    with pytest.raises(UsageError, match="got 3 classes; expected 40"):
        checkpoint_from_published(
            mobilenet_file, network="refinenet_lw_mbv2", num_classes=40, labels=THREE
        )


def test_a_known_file_with_other_bytes_is_refused(tmp_path: Path) -> None:
    source = source_named("icnet_r50-in1k-160k-cityscapes")
    path = tmp_path / str(source.file)
    path.write_bytes(b"not what was published")
    with pytest.raises(DownloadError, match=r"not the file.*expected ce310aea"):
        checkpoint_from_published(path, network="icnet_r50", num_classes=19)


def test_caffe_brings_its_input_convention(tmp_path: Path) -> None:
    path = tmp_path / "icnet.pth"
    shapes = reference("caffe_icnet").shapes
    torch.save({key: torch.full(shape, 0.5) for key, shape in shapes.items()}, path)
    meta = checkpoint_from_published(path, network="icnet", num_classes=19).meta
    assert meta.preprocess.channel_order == "bgr"
    assert meta.preprocess.mean == (103.939, 116.779, 123.68)
    assert meta.provenance["imgsz"] == [1025, 2049]
    assert meta.labels == cityscapes.LABELS


def test_a_trunk_is_imported_with_the_rest_drawn_from_the_seed(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = build("refinenet_lw_mbv2", num_classes=3).state_dict()
    from test_published import torchvision_mobilenet

    from artoolkit.networks.layouts import TORCHVISION_MBV2

    published = torchvision_mobilenet()
    path = tmp_path / "mobilenet.pth"
    torch.save(published, path)
    options = {"network": "refinenet_lw_mbv2", "num_classes": 3, "labels": THREE}
    first, again, other = (
        checkpoint_from_published(path, **options, seed=seed) for seed in (0, 0, 1)
    )
    key = "features.17.conv.2.weight"
    assert torch.equal(first.state[TORCHVISION_MBV2.rename(key)], published[key])
    assert set(first.state) == set(state)
    head = "classifier.weight"
    assert torch.equal(first.state[head], again.state[head])
    assert not torch.equal(first.state[head], other.state[head])
    assert "everything but the trunk, from seed 0" in first.meta.provenance["untrained"]
    assert first.meta.layout is None


def test_own_network_takes_its_own_weights(tmp_path: Path) -> None:
    source = build("own_network:Plain", num_classes=3)
    path = tmp_path / "own.pth"
    torch.save({"model": source.module.state_dict()}, path)
    checkpoint = checkpoint_from_published(
        path, network="own_network:Plain", num_classes=3, labels=THREE
    )
    assert set(checkpoint.state) == set(source.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(checkpoint.network()(image), source.eval()(image))


def test_labels_come_from_the_user_the_file_or_the_code_base() -> None:
    hollow = Published({})
    assert labels_of(hollow, "mmseg", 19, None) == cityscapes.LABELS
    assert labels_of(hollow, "torchvision", 3, THREE) == THREE
    stated = Published({}, ("x", "y", "z"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    table = labels_of(stated, "mmseg", 3, None)
    assert (table.names, table.colors[2]) == (("x", "y", "z"), (3, 3, 3))
    assert labels_of(Published({}, ("x", "y", "z")), "mmseg", 3, None).num_classes == 3
    assert labels_of(Published({}, cityscapes.LABELS.names), "mmseg", 19, None).file_ids[0] == 7
    with pytest.raises(CheckpointError, match=r"no label table: .*a value twice"):
        labels_of(Published({}, ("x", "x", "z")), "mmseg", 3, None)
    with pytest.raises(UsageError, match="what the 21 classes of these weights are"):
        labels_of(hollow, "drsleep", 21, None)
    assert labels_of(hollow, "own", 3, None, THREE) == THREE
    assert labels_of(hollow, "mmseg", 19, None, THREE) == cityscapes.LABELS


@pytest.mark.parametrize("name", TRUNKS)
def test_every_residual_trunk_starts_from_published_files(name: str, tmp_path: Path) -> None:
    network = build(name, num_classes=3, **NARROW)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = imagenet_trunk(network)
    wrapped = {f"backbone.{k}": v for k, v in state.items() if not k.startswith("fc.")}
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"state_dict": {**wrapped, "head.fc.weight": state["fc.weight"]}, "meta": {}},
               tmp_path / "mmcls.pth")  # fmt: skip
    save_file(state, tmp_path / "bare.safetensors")
    for file, left_out in (
        ("bare.pth", ("fc.weight", "fc.bias")),
        ("mmcls.pth", ("head.fc.weight",)),
        ("bare.safetensors", ("fc.weight", "fc.bias")),
    ):
        trunk = trunk_from_published(tmp_path / file, network, THREE)
        assert (trunk.layout, set(trunk.left_out)) == ("torchvision", set(left_out))
        expected = trunk_state(state)
        assert trunk.checkpoint.state.keys() == expected.keys()
        assert {key for key in before if key.startswith("trunk.")} == expected.keys()
        assert all(torch.equal(trunk.checkpoint.state[key], expected[key]) for key in expected)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_mobilenets_trunk_too(tmp_path: Path) -> None:
    from test_published import torchvision_mobilenet

    torch.save(torchvision_mobilenet(), tmp_path / "m.pth")
    network = build("refinenet_lw_mbv2", num_classes=3)
    trunk = trunk_from_published(tmp_path / "m.pth", network, THREE)
    own = [key for key in network.state_dict() if key.startswith("trunk.")]
    assert set(own) == set(trunk.checkpoint.state)
    assert "classifier.1.weight" in trunk.left_out


def test_a_trunk_is_taken_out_of_a_whole_network(tmp_path: Path) -> None:
    state = narrow_published("mmseg_icnet_r50", "icnet_r50", "mmseg")
    torch.save({"state_dict": state}, tmp_path / "icnet.pth")
    network = build("pspnet50", num_classes=3, layout="mmseg", **NARROW)
    trunk = trunk_from_published(tmp_path / "icnet.pth", network, THREE)
    assert trunk.layout == "mmseg"
    key = "trunk.layer4.2.conv3.conv.weight"
    assert torch.equal(trunk.checkpoint.state[key],
                       state["backbone.backbone.layer4.2.conv3.weight"])  # fmt: skip
    assert "decode_head.conv_seg.bias" in trunk.left_out


def test_a_trunk_of_another_network_is_named_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    torch.save(imagenet_trunk(build("refinenet_lw50", num_classes=3, **NARROW)), path)
    with pytest.raises(
        CheckpointError,
        match=r"\(torchvision\) does not hold the encoder of icnet_r50; got .*missing: .*"
        r"trunk\.stem\.1.*of another shape: conv1\.weight.* weights list --network icnet_r50",
    ):
        trunk_from_published(path, build("icnet_r50", num_classes=3, **NARROW), THREE)
    source = build("own_network:Plain", num_classes=3)
    torch.save(source.module.state_dict(), path)
    whole = trunk_from_published(path, source, THREE)
    assert set(whole.checkpoint.state) == set(source.state_dict())
    part = build("own_network:Plain", num_classes=3, encoder=["trunk."])
    assert trunk_from_published(path, part, THREE).left_out == (
        "head.weight", "head.bias"
    )  # fmt: skip
    wider = build("own_network:Plain", num_classes=3, arguments={"channels": 4})
    with pytest.raises(CheckpointError, match=r" trunk\.weight .*--option 'encoder="):
        trunk_from_published(path, wider, THREE)


# network -> its reference, the prefix that ImageNet files lack, and what they lack beside
OWN_TRUNKS = {
    "pidnet_s": ("mmseg_pidnet_s", "backbone.", r"d_branch|diff|dfm|spp"),
    "ddrnet_23_slim": ("mmseg_ddrnet_23_slim", "backbone.", "spp"),
    "stdc1": ("mmseg_stdc1", "backbone.backbone.", "$^"),
    "segformer_b0": ("mmseg_segformer_b0", "backbone.", "$^"),
}


@pytest.mark.parametrize("name", OWN_TRUNKS)
def test_trunks_that_mmsegmentation_starts_from(name: str, tmp_path: Path) -> None:
    stored, prefix, lacking = OWN_TRUNKS[name]
    whole = reference(stored).state()
    state = {
        key.removeprefix(prefix): value
        for key, value in whole.items()
        if key.startswith(prefix) and not re.search(lacking, key)
    }
    path = tmp_path / "trunk.pth"
    torch.save({"state_dict": state | {"head.fc.weight": torch.zeros(10, 4)}}, path)
    network = build(name, num_classes=5)
    trunk = trunk_from_published(path, network, numbered_classes(5))
    expected = convert(whole, "mmseg")
    own = [key for key in network.state_dict() if key.startswith(network.encoder)]
    assert set(trunk.checkpoint.state) == set(own)
    assert all(torch.equal(trunk.checkpoint.state[key], expected[key]) for key in own)
    assert "head.fc.weight" in trunk.left_out
    load_trunk(network, state)
    assert all(torch.equal(network.state_dict()[key], expected[key]) for key in own)


def test_weights_of_another_network_are_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "stdc.pth"
    torch.save(reference("mmseg_stdc1").state(), path)
    with pytest.raises(CheckpointError) as refused:
        checkpoint_from_published(path, network="pidnet_s", num_classes=19)
    assert (refused.value.got, refused.value.expected) == ("mmsegmentation, STDC", "pidnet_s")
    assert refused.value.hint == "Give --network stdc1 or stdc2."
