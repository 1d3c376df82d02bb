"""Checkpoints: round trip, atomic writing, and every way to be the wrong file."""

import json
import logging
import random
from pathlib import Path

import pytest
import safetensors.torch
import torch
from mutations import damaged

from artoolkit.errors import CheckpointError, StorageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    read_checkpoint,
    write_checkpoint,
)
from artoolkit.preprocess import Preprocess

LABELS = LabelTable(
    name="two", names=("road", "sky"), colors=((1, 2, 3), (4, 5, 6)), file_ids=(0, 1)
)
PREPROCESS = Preprocess(mean=(1, 2, 3), std=(4, 5, 6), channel_order="bgr")


def a_checkpoint(**changes: object) -> Checkpoint:
    torch.manual_seed(0)
    options = {"width": 0.0625}
    network = build("icnet", num_classes=2, **options)
    values = {
        "network": "icnet", "num_classes": 2, "options": options, "labels": LABELS,
        "preprocess": PREPROCESS, "recipe": {"seed": 3}, "provenance": {"source": "a test"},
    }  # fmt: skip
    return Checkpoint(CheckpointMeta(**(values | changes)), network.state_dict())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "model.safetensors"


def test_round_trip(path: Path) -> None:
    written = a_checkpoint()
    write_checkpoint(path, written)
    read = read_checkpoint(path)
    assert read.meta == written.meta
    assert read.path == path
    assert set(read.state) == set(written.state)
    assert all(torch.equal(read.state[key], written.state[key]) for key in written.state)
    network = read.network()
    assert not network.training
    assert network.preprocess == PREPROCESS
    assert list(path.parent.iterdir()) == [path]


def test_weights_are_stored_as_float32_and_contiguous(path: Path) -> None:
    checkpoint = a_checkpoint()
    key = "fuse_8.low.conv.weight"
    state = dict(checkpoint.state)
    state[key] = state[key].to(torch.bfloat16).to(memory_format=torch.channels_last)
    state["context.norm.bias"] = state["context.norm.weight"]
    write_checkpoint(path, Checkpoint(checkpoint.meta, state))
    read = read_checkpoint(path).state
    assert read[key].dtype is torch.float32
    assert read["trunk.stem.0.norm.num_batches_tracked"].dtype is torch.int64
    assert torch.equal(read["context.norm.bias"], state["context.norm.weight"])


def test_every_key_that_does_not_fit_is_named() -> None:
    checkpoint = a_checkpoint()
    state = dict(checkpoint.state)
    del state["context.norm.bias"]
    state["stranger"] = torch.zeros(1)
    state["classifier.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as raised:
        Checkpoint(checkpoint.meta, state).network()
    message = str(raised.value)
    assert "1 missing: context.norm.bias" in message
    assert "1 left over: stranger" in message
    assert "classifier.bias (3,) instead of (2,)" in message
    assert "\n" not in message


def test_another_class_count_is_refused() -> None:
    three = LABELS.model_copy(
        update={"names": ("a", "b", "c"), "colors": ((0, 0, 0),) * 3, "file_ids": (0, 1, 2)}
    )
    with pytest.raises(CheckpointError, match=r"classifier.weight \(2, 16, 1, 1\) instead of"):
        a_checkpoint(num_classes=3, labels=three).network()
    with pytest.raises(CheckpointError, match="got 2 classes and 3 labels"):
        a_checkpoint(labels=three).network()


def test_pickle_is_refused_unread(path: Path) -> None:
    path.parent.mkdir()
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="is a pickle, which can run code"):
        read_checkpoint(path)


def test_missing_cut_and_foreign_files_are_named(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*model\.safetensors"):
        read_checkpoint(path)
    write_checkpoint(path, a_checkpoint())
    whole = path.read_bytes()
    for content in (whole[:-10], whole[:100], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"or it is cut off|is empty"):
            read_checkpoint(path)
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="no artoolkit header"):
        read_checkpoint(path)


def test_a_wrong_header_lists_its_problems(path: Path) -> None:
    path.parent.mkdir()
    header = a_checkpoint().meta.model_dump(mode="json") | {"num_classes": "many", "extra": 1}
    metadata = {"artoolkit": json.dumps(header)}
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}, metadata=metadata))
    with pytest.raises(CheckpointError, match=r'num_classes: .*"many".*extra is unknown'):
        read_checkpoint(path)


def test_weights_that_are_not_finite_are_named(path: Path) -> None:
    path.parent.mkdir()
    made = a_checkpoint()
    name = next(iter(made.state))
    made.state[name].view(-1)[0] = float("nan")
    metadata = {"artoolkit": json.dumps(made.meta.model_dump(mode="json"))}
    path.write_bytes(safetensors.torch.save(dict(made.state), metadata=metadata))
    with pytest.raises(CheckpointError, match=f"not finite; got 1 of .* values of {name}"):
        read_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(path, a_checkpoint())
    before = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        write_checkpoint(path, a_checkpoint(num_classes=2, provenance={"source": "another"}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_of_200_damaged_checkpoints_none_is_accepted(path: Path) -> None:
    write_checkpoint(path, a_checkpoint())
    whole, draw = path.read_bytes(), random.Random(0)
    begins = 8 + int.from_bytes(whole[:8], "little")
    for number in range(200):
        content = bytearray(whole)
        if number < 100:  # one bit of a weight
            content[draw.randrange(begins, len(whole))] ^= 1 << draw.randrange(8)
        else:
            content[:] = damaged(draw, whole, "tensors")
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as refused:
            read_checkpoint(path)
        if number < 100:
            assert refused.value.what.startswith(f"the weights of {path} changed")
    path.write_bytes(whole)
    assert read_checkpoint(path).meta == a_checkpoint().meta


def test_a_checkpoint_of_before_has_no_checksum_and_is_read(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    checkpoint = a_checkpoint()
    metadata = {"artoolkit": checkpoint.meta.model_dump_json()}
    path.write_bytes(safetensors.torch.save(dict(checkpoint.state), metadata=metadata))
    with caplog.at_level(logging.WARNING, "artoolkit"):
        assert read_checkpoint(path).meta == checkpoint.meta
    assert caplog.records[0].args == (path,)
    # One of the two sums alone was taken away.
    metadata = {"artoolkit": json.dumps(checkpoint.meta.model_dump() | {"tensors_sha256": "0"})}
    path.write_bytes(safetensors.torch.save(dict(checkpoint.state), metadata=metadata))
    with pytest.raises(CheckpointError, match="the header of"):
        read_checkpoint(path)
