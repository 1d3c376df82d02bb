"""What `predict` opens, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from artoolkit.cli.predict import command
from artoolkit.cli.source import open_source
from artoolkit.data.cityscapes import LABELS
from artoolkit.errors import BundleError, UsageError
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, write_checkpoint
from artoolkit.preprocess import Preprocess


def test_a_source_or_a_data_set_is_needed_but_not_both(tmp_path: Path) -> None:
    for arguments in ([], ["camera:0", "--dataset", "camvid"]):
        result = CliRunner().invoke(command, [str(tmp_path), *arguments, "--out", str(tmp_path)])
        assert isinstance(result.exception, UsageError)
        assert "SOURCE" in str(result.exception)


def test_what_cannot_be_opened_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_source(tmp_path / "nothing")
    checkpoint = tmp_path / "model.safetensors"
    meta = CheckpointMeta(network="icnet", num_classes=19, labels=LABELS, preprocess=Preprocess())
    write_checkpoint(checkpoint, Checkpoint(meta, {}))
    with pytest.raises(UsageError, match="runs on torch, not on onnxruntime"):
        open_source(checkpoint, backend="onnxruntime")
    with pytest.raises(UsageError, match="--imgsz H W"):
        open_source(checkpoint)
