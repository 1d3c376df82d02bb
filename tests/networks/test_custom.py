"""Bring your own network: forms of output, options, trust, and what is said where it fails."""

from pathlib import Path

import pytest
import torch

from artoolkit.errors import CheckpointError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    read_checkpoint,
    write_checkpoint,
)
from artoolkit.networks.complexity import parameter_count
from artoolkit.networks.factory import TRUSTED_VARIABLE
from artoolkit.preprocess import Preprocess

LABELS = LabelTable(name="l", names=tuple("abc"), colors=((0, 0, 0),) * 3, file_ids=(0, 1, 2))


@pytest.fixture(autouse=True)
def nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_VARIABLE, "")


def test_a_plain_module_becomes_a_network() -> None:
    network = build("own_network:Plain", num_classes=3, arguments={"channels": 4})
    assert network.training
    assert (network.name, network.output_stride) == ("own_network:Plain", 4)
    assert (network.align_corners, network.aux_weights) == (False, {})
    assert network.preprocess == Preprocess()
    image = torch.randn(2, 3, 64, 96)
    scores = network(image)
    assert set(scores) == {"main"}
    assert torch.equal(scores["main"], network.module(image))
    assert network.eval()(image).shape == (2, 3, 16, 24)


@pytest.mark.parametrize(("form", "aux"), [("dict", "aux"), ("tuple", "1")])
def test_tuple_and_dict_give_the_main_output_and_named_ones(form: str, aux: str) -> None:
    options = {
        "arguments": {"form": form}, "aux_weights": {aux: 0.4}, "training_only": ["aux."],
        "encoder": ["inner.trunk."], "align_corners": True, "mean": [1, 2, 3], "std": [4, 5, 6],
        "channel_order": "bgr",
    }  # fmt: skip
    network = build("own_network:Wrapped", num_classes=3, **options)
    assert network.output_stride == 1
    assert network.align_corners
    assert network.preprocess == Preprocess(mean=(1, 2, 3), std=(4, 5, 6), channel_order="bgr")
    outputs = network(torch.randn(1, 3, 64, 64))
    assert {name: tuple(scores.shape) for name, scores in outputs.items()} == {
        "main": (1, 3, 64, 64), aux: (1, 3, 16, 16)
    }  # fmt: skip
    assert dict(network.aux_weights) == {aux: 0.4}
    assert network.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    keys = network.state_dict()
    assert [key for key in keys if key.startswith(network.training_only)]
    assert [key for key in keys if key.startswith(network.encoder)]
    assert parameter_count(network) == sum(p.numel() for p in network.module.inner.parameters())


def test_terms_of_the_loss_name_outputs_too() -> None:
    terms = {"second": {"kind": "cross_entropy", "output": "aux", "weight": 2.0}}
    network = build("own_network:Wrapped", num_classes=3, arguments={"form": "dict"}, terms=terms)
    assert network.outputs == ("main", "aux")
    assert set(network(torch.randn(1, 3, 64, 64))) == {"main", "aux"}
    assert dict(network.terms) == terms


def test_probing_leaves_random_state_and_statistics_alone() -> None:
    torch.manual_seed(3)
    build("own_network:Plain", num_classes=3)
    after_building = torch.rand(1)
    torch.manual_seed(3)
    from own_network import Plain

    Plain(3)
    assert torch.equal(torch.rand(1), after_building)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_module:Net", {}, "no_such_module cannot be imported"),
        ("own_network:Missing", {}, "has no function or class 'Missing'"),
        (":Plain", {}, "expected package.module:factory"),
        ("own_network:no_network", {}, "did not return an nn.Module; got int"),
        ("own_network:breaks", {}, "cannot be made: RuntimeError: no weights for 3 classes"),
        ("own_network:Plain", {"arguments": {"depth": 1}}, "unexpected keyword argument 'depth'"),
        ("own_network:plain_with_seven_classes", {}, "other classes; got 7; expected 3"),
        ("own_network:Fails", {}, "fails on images of 1 x 3 x 256 x 320: RuntimeError"),
        ("own_network:Lopsided", {}, "scales both sides differently; got scores of 64 x 40"),
        ("own_network:Plain", {"mean": 1, "colour": 2}, r"mean: expected .*; colour is unknown"),
        ("own_network:Plain", {"channel_order": "grb"}, 'channel_order: expected .*"grb"'),
        ("own_network:Plain", {"mean": [float("nan"), 1, 2]}, "mean.*finite"),
        ("own_network:Plain", {"std": [1, 1, float("inf")]}, "std.*finite"),
        ("own_network:Plain", {"aux_weights": {"1": -1}}, "aux_weights.1"),
        (
            "own_network:Plain",
            {"mean": [0.5, 0.25, 0.1], "std": [0.2, 0.2, 0.1]},
            r"pixels from 0 to 1, not 0 to 255: give mean 127\.5,63\.75,25\.5 and std 51,51,25\.5",
        ),
        ("own_network:Plain", {"std": [58, 0, 57]}, "must be positive"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        build(name, num_classes=3, **options)
    assert "\n" not in str(raised.value)


def test_outputs_that_are_not_there_are_named() -> None:
    network = build(
        "own_network:Wrapped",
        num_classes=3,
        arguments={"form": "dict"},
        aux_weights={"deep": 1.0},
    )
    with pytest.raises(UsageError, match=r"its deep scores; got dict with out, aux; expected"):
        network(torch.randn(1, 3, 64, 64))
    with pytest.raises(UsageError, match="has no layouts; got mmseg"):
        build("own_network:Plain", num_classes=3, layout="mmseg")


def test_a_checkpoint_runs_code_only_where_the_user_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build("own_network:Plain", num_classes=3, arguments={"channels": 4})
    meta = CheckpointMeta(
        network=network.name,
        num_classes=3,
        options=network.options,
        labels=LABELS,
        preprocess=network.preprocess,
    )
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, Checkpoint(meta, network.state_dict()))
    rebuilt = read_checkpoint(path).network()
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(rebuilt(image), network.eval()(image))
    monkeypatch.setenv(TRUSTED_VARIABLE, "another:Net")
    with pytest.raises(
        CheckpointError, match="set ARTOOLKIT_TRUSTED_NETWORKS=own_network:Plain in"
    ):
        read_checkpoint(path)
    monkeypatch.setenv(TRUSTED_VARIABLE, "another:Net,own_network:Plain")
    assert read_checkpoint(path).meta == meta


def main_of(options: dict[str, object]) -> str | None:
    """The head whose weights the scores come from."""
    network = build("own_network:Heads", num_classes=3, **options).eval()
    images = torch.rand(1, 3, 32, 32)
    inner = network.module
    feature = inner.stem(images)
    with torch.no_grad():
        scores = network(images)
    heads = (name for name in ("aux", "main") if torch.equal(scores, getattr(inner, name)(feature)))
    return next(heads, None)


@pytest.mark.parametrize("keys", [None, ["first", "second", "edge"], ["a", "b"]])
def test_several_outputs_of_as_many_channels_are_asked_about(keys: list[str] | None) -> None:
    arguments = {} if keys is None else {"arguments": {"keys": keys}}
    with pytest.raises(UsageError, match="2 outputs of the network have 3 channels") as caught:
        main_of(arguments)
    assert "--option main=" in (caught.value.hint or "")
    first, second = keys[:2] if keys else (0, 1)
    assert main_of({"main": second, **arguments}) == "main"
    assert main_of({"main": first, **arguments}) == "aux"
    assert main_of({"aux_weights": {str(first): 0.4}, **arguments}) == "main"


@pytest.mark.parametrize("keys", [["aux", "out"], ["aux", "logits"], ["aux", "out", "edge"]])
def test_the_usual_names_of_scores_are_taken(keys: list[str]) -> None:
    assert main_of({"arguments": {"keys": keys}}) == "main"


@pytest.mark.parametrize("void", [[3], [0], [1]])
def test_channels_of_void_are_no_classes(void: list[int]) -> None:
    network = build("own_network:Plain", num_classes=3, void_outputs=void).eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        scores, whole = network(images), network.module(images)
    assert whole.shape[1] == 4
    assert torch.equal(scores, whole[:, [c for c in range(4) if c not in void]])


def test_one_class_more_than_there_are_is_asked_about() -> None:
    with pytest.raises(UsageError, match=r"got 7; expected 6.*void_outputs=\[6\]"):
        build("own_network:plain_with_seven_classes", num_classes=6)


def test_a_network_of_one_size_is_probed_and_held_there() -> None:
    with pytest.raises(UsageError, match=r"only_hw=\[H,W\]"):
        build("own_network:Fixed", num_classes=3)
    network = build("own_network:Fixed", num_classes=3, only_hw=[64, 128]).eval()
    assert network.output_stride == 4
    assert network(torch.rand(1, 3, 64, 128)).shape == (1, 3, 16, 32)
    with pytest.raises(UsageError, match="got 128 x 256; expected --imgsz 64 128"):
        network(torch.rand(1, 3, 128, 256))
