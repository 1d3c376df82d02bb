"""Files of weights as people really have them, and what was given in their place."""

from __future__ import annotations

import collections
import io
import logging
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from artoolkit.errors import CheckpointError, TrainingError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.networks.importing import checkpoint_from_published
from artoolkit.networks.weight_files import read_published, read_torch, unwrapped

STATE = {"a.weight": torch.arange(4.0), "a.bias": torch.ones(2)}
TABLE = LabelTable(
    name="t", names=("x", "y", "z"), colors=((1, 0, 0), (2, 0, 0), (3, 0, 0)), file_ids=(0, 1, 2)
)


def scaled(factor: float, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + key: factor * value for key, value in STATE.items()}


AVERAGED = [
    {"model": STATE, "ema": scaled(2)},
    {"model": STATE, "model_ema": scaled(2, "module.")},
    {"state_dict": STATE, "state_dict_ema": scaled(2), "epoch": 3},
    {"state_dict": STATE, "ema_state_dict": scaled(2, "module."), "meta": {"iter": 1}},
    {"net": {"state_dict": STATE}, "ema": {"module": scaled(2)}},
]


@pytest.mark.parametrize("content", AVERAGED, ids=lambda c: "+".join(c))
def test_the_average_is_taken_and_said_and_the_other_can_be(content, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    average = read_published(tmp_path / "w.pth")
    assert torch.equal(average.state["a.weight"], 2 * STATE["a.weight"])
    plain_key, average_key = list(content)[:2]
    assert average_key in average.taken.partition(", beside ")[0]
    assert plain_key in average.taken.partition(", beside ")[2]
    plain = read_published(tmp_path / "w.pth", take=plain_key)
    assert torch.equal(plain.state["a.weight"], STATE["a.weight"])
    with pytest.raises(UsageError, match=f"expected .*{average_key}"):
        read_published(tmp_path / "w.pth", take="best")


def test_an_average_of_parameters_alone_is_completed_by_the_plain_buffers() -> None:
    plain = {**STATE, "n.running_mean": torch.zeros(2), "n.running_var": torch.ones(2)}
    found = unwrapped({"model": plain, "ema": scaled(2)}).state
    assert torch.equal(found["a.bias"], 2 * STATE["a.bias"])
    assert torch.equal(found["n.running_var"], torch.ones(2))


@pytest.mark.parametrize("key", ["model_state", "model_state_dict", "net", "module", "segmenter"])
def test_every_usual_wrapper_is_taken_off(key) -> None:
    content = {key: STATE, "optimizer": {"lr": 1, "state": {0: {"m": torch.ones(1)}}}, "best": 0.7}
    found = unwrapped(content)
    assert set(found.state) == set(STATE)
    assert found.taken == ""


def pretend_mmengine(content: object) -> bytes:
    """What mmengine writes: HistoryBuffers of NumPy arrays beside the weights."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history = np.array([0.1, 0.2])
            self._count_history = np.array([1, 1], np.int64)
            self._max_length = 1000000

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer
    names = ("mmengine", "mmengine.logging", module.__name__)
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    try:
        file = io.BytesIO()
        scalars = collections.OrderedDict(loss=HistoryBuffer())
        torch.save({"message_hub": {"log_scalars": scalars}, **content}, file)
        return file.getvalue()
    finally:
        for name in names:
            del sys.modules[name]


def test_mmengines_files_are_read_without_mmengine(tmp_path: Path) -> None:
    meta = {"epoch": 3, "dataset_meta": {"classes": ["x", "y"], "palette": [[1, 2, 3], [4, 5, 6]]}}
    (tmp_path / "w.pth").write_bytes(pretend_mmengine({"meta": meta, "state_dict": STATE}))
    found = read_published(tmp_path / "w.pth")
    assert set(found.state) == set(STATE)
    assert found.classes == ("x", "y")


@pytest.mark.parametrize(
    "value", [np.float64(0.71), np.float32(1), np.int64(3), np.bool_(True), np.array([1.5, 2]),
              np.array(["a"]), {"best": [np.float16(2)]}],
)  # fmt: skip
def test_numpys_values_beside_the_weights_are_no_obstacle(value, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "best_miou": value}, tmp_path / "w.pth")
    assert set(read_published(tmp_path / "w.pth").state) == set(STATE)


class Ran:
    def __reduce__(self):
        return pytest.fail, ("code of the file was run",)


class Loads:
    """What NumPy's names may not be used for: an object array whose items are unpickled."""

    def __reduce__(self):
        return np.load, ("nothing.npy",)


@pytest.mark.parametrize("value", [Ran(), Loads(), np.array([Ran()], object), torch.nn.ReLU()])
def test_code_is_refused_as_before(value, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "more": value}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        read_published(tmp_path / "w.pth")


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"):
            archive.writestr(name, b"x")


def plain_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/net.pth", b"x")


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 94\n"


def arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{key: value.numpy() for key, value in STATE.items()})


INSTEAD = [
    (arrays, "an archive of NumPy arrays"),
    (LFS.encode(), "a Git-LFS pointer"),
    (b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>", "a web page"),
    (b"\n\n  <html>", "a web page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page or XML"),
    (b'{"weight_map": {}}', "JSON text"),
    (b"\x89HDF\r\n\x1a\n" + b"\0" * 20, "an HDF5 file"),
    (b"\x1f\x8b\x08" + b"\0" * 20, "a gzip archive"),
    (b"\x93NUMPY\x01\0", "a NumPy array"),
    (b"", "is empty"),
    (script, "a TorchScript archive"),
    (plain_zip, "a zip archive without torch's weights"),
]


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize(("content", "what"), INSTEAD, ids=[what for _, what in INSTEAD])
def test_what_is_no_file_of_weights_is_named_as_what_it_is(
    tmp_path: Path, name: str, content, what: str
) -> None:
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    for read in (read_published, read_checkpoint):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert what in str(caught.value)
        assert caught.value.hint


def test_a_real_torchscript_archive_is_one(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(nn.ReLU()), str(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_published(tmp_path / "w.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float, dtype) -> None:
    state = {key: tensor.clone().to(dtype) for key, tensor in STATE.items()}
    state["a.weight"][1] = value
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"got 1 of 4 values of module\.a\.weight"):
        read_published(tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(safetensors.torch.save(state))
    with pytest.raises(CheckpointError, match=r"not finite; got 1 of 4 values of a\.weight"):
        read_published(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("n.running_mean", torch.tensor([0.0, float("inf")]), "1 of 2 values of n.running_mean"),
        ("n.running_var", torch.tensor([float("nan"), 1.0]), "1 of 2 values of n.running_var"),
        ("n.running_var", torch.tensor([-1e-3, 1.0]), "variances below 0 in n.running_var"),
        ("c", torch.tensor([complex(0, float("nan"))]), "1 of 1 values of c"),
        ("c", torch.tensor([float("nan")]).to(torch.float8_e4m3fn), "1 of 1 values of c"),
        ("c", torch.eye(2).to_sparse(), "torch.sparse_coo of torch.float32"),
        ("c", torch.ones(2, device="meta"), "got meta"),
    ],
)
def test_numbers_that_nothing_can_be_computed_with_are_named(tmp_path, key, value, said) -> None:
    torch.save({**STATE, key: value}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        read_published(tmp_path / "w.pth")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "value", [torch.tensor(2**62), torch.ones(2).to(torch.float8_e5m2), torch.zeros(0)]
)
def test_counters_small_floats_and_empty_tensors_are_weights(tmp_path, value) -> None:
    torch.save({**STATE, "c": value}, tmp_path / "w.pth")
    assert torch.equal(read_published(tmp_path / "w.pth").state["c"].float(), value.float())


WRAPPED = {
    "two state_dicts": lambda s: {"state_dict": {"state_dict": s}},
    "three wrappers and a prefix": lambda s: {"model": {"net": {"state_dict": prefixed(s)}}},
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "compiled in parallel": lambda s: prefixed(prefixed(s, "_orig_mod."), "module."),
    "parallel, compiled, parallel": lambda s: prefixed(prefixed(prefixed(s), "_orig_mod.")),
    "parameters": lambda s: {k: nn.Parameter(v) if v.is_floating_point() else v
                             for k, v in s.items()},
    "beside its optimizer": lambda s: {"optimizer": {"state": {0: s}}, "epoch": 3, "model": s},
}  # fmt: skip


def prefixed(state: dict[str, torch.Tensor], prefix: str = "module.") -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("old", [False, True])
def test_weights_are_found_in_whatever_they_are_wrapped(form: str, old: bool, tmp_path) -> None:
    path = tmp_path / "w.safetensors"  # the content says what a file is, not its ending
    torch.save(WRAPPED[form](STATE), path, _use_new_zipfile_serialization=not old)
    assert set(read_published(path).state) == set(STATE)


@pytest.mark.parametrize("key", ["ema_model_state_dict", "swa_model", "params_ema", "student_ema"])
def test_an_average_is_one_by_its_name(key: str) -> None:
    found = unwrapped({"model": STATE, key: scaled(2)})
    assert torch.equal(found.state["a.weight"], 2 * STATE["a.weight"])
    assert found.taken == f"{key}, beside model"
    assert unwrapped({"model": STATE, "schema": scaled(2)}).taken == ""


@pytest.mark.parametrize("content", [{"generator": STATE, "critic": STATE}, {"student": STATE}])
def test_a_key_that_nobody_knows_is_asked_for_and_taken(content) -> None:
    with pytest.raises(CheckpointError, match=f"got dict of {', '.join(content)}") as caught:
        unwrapped(content)
    assert "--take" in caught.value.hint
    assert set(unwrapped(content, take=next(iter(content))).state) == set(STATE)


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, [torch.ones(1)], torch.ones(1), {"optimizer": {"lr": 1}}]
)
def test_a_file_without_weights_is_refused(content, tmp_path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no weights found"):
        read_published(tmp_path / "w.pth")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_torch_file_that_is_cut_off_is_one_line(share: float, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published(tmp_path / "w.pth")


def test_another_reader_may_ask_for_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(LFS.encode())
    with pytest.raises(TrainingError, match="Git-LFS"):
        read_torch(tmp_path / "last.pt", TrainingError)


OWN = "own_network:Plain"


def own_state() -> dict[str, torch.Tensor]:
    from own_network import Plain

    torch.manual_seed(0)
    return Plain(3).state_dict()


def imported(content: object, path: Path, **more: object):
    torch.save(content, path)
    return checkpoint_from_published(path, network=OWN, num_classes=3, labels=TABLE, **more)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "net._orig_mod."])
def test_prefixes_of_trainers_are_taken_off_for_the_users_network(
    prefix: str, tmp_path: Path
) -> None:
    state = {prefix + key: value for key, value in own_state().items()}
    found = imported({"state_dict": state}, tmp_path / "w.ckpt")
    for key, value in own_state().items():
        assert torch.equal(found.state[f"module.{key}"], value)


@pytest.mark.parametrize("odd", ["n_averaged", "criterion.weight", "global_step"])
def test_an_odd_tensor_beside_the_module_is_left_out_and_said(
    odd: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {f"module.{key}": value for key, value in own_state().items()} | {odd: torch.ones(())}
    with caplog.at_level(logging.INFO):
        found = imported(state, tmp_path / "w.pth")
    assert found.meta.provenance["left_out"] == [odd]
    assert odd in caplog.text


def test_messages_name_the_keys_of_the_users_file(tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in own_state().items()}
    gone = next(iter(state))
    del state[gone]
    state["model.extra.weight"] = torch.ones(2)
    last = next(reversed(own_state()))
    state[f"model.{last}"] = torch.ones(7)
    with pytest.raises(CheckpointError) as caught:
        imported(state, tmp_path / "w.pth")
    message = str(caught.value)
    assert f"missing: {gone.removeprefix('model.')}" in message
    assert "left over: model.extra.weight" in message
    assert f"model.{last} (7,) instead of" in message
    assert "module." not in message


def test_the_average_of_the_users_network_is_recorded(tmp_path: Path) -> None:
    double = {key: 2 * value for key, value in own_state().items()}
    content = {"model": own_state(), "ema": double}
    found = imported(content, tmp_path / "w.pth")
    assert found.meta.provenance["taken"] == "ema, beside model"
    key = next(iter(own_state()))
    assert torch.equal(found.state[f"module.{key}"], double[key])
    assert torch.equal(
        imported(content, tmp_path / "w.pth", take="model").state[f"module.{key}"], own_state()[key]
    )
