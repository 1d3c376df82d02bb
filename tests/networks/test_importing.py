"""Published files to checkpoints: labels, normalisation and origin are recorded."""

from pathlib import Path

import pytest
import torch
from public_reference import reference

from artoolkit.data import cityscapes, nyuv2
from artoolkit.errors import CheckpointError, DownloadError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import read_checkpoint, write_checkpoint
from artoolkit.networks.importing import checkpoint_from_published, labels_of
from artoolkit.networks.published import Published
from artoolkit.networks.sources import source_named
from artoolkit.seal import file_sha256

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
    with pytest.raises(CheckpointError, match=r"classifier.bias \(40,\) instead of \(19,\)"):
        checkpoint_from_published(mobilenet_file, network="refinenet_lw_mbv2", num_classes=19)
    with pytest.raises(UsageError, match="icnet has no layout 'drsleep'"):
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
