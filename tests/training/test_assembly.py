from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streets import TABLE, Streets

from artoolkit.commit import source_commit
from artoolkit.errors import CheckpointError, RecipeError
from artoolkit.networks.checkpoint import read_checkpoint, write_checkpoint
from artoolkit.training.assembly import (
    build_network,
    checkpoint_of,
    load_baseline,
    load_encoder,
    native_precision,
    provenance_of,
    settled,
)
from artoolkit.training.recipe import Recipe

Make = Callable[..., Recipe]
CPU = torch.device("cpu")


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_settled_by_what_the_cpu_computes_natively(
    has_it: bool, expected: str, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it, raising=False)
    assert native_precision(CPU) == expected
    asked = tiny({"execution.precision": "auto"})
    assert settled(asked, CPU).execution.precision == expected
    assert asked.execution.precision == "auto"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_stays(precision: str, tiny: Make) -> None:
    recipe = tiny({"execution.precision": precision})
    assert settled(recipe, CPU) is recipe


def test_first_weights_depend_on_the_seed(tiny: Make) -> None:
    networks = [build_network(tiny(), TABLE, seed=seed) for seed in (1, 1, 2)]
    weights = [network.trunk.stem[0].conv.weight for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_travel_by_a_file_with_their_normalisation(tiny: Make, tmp_path: Path) -> None:
    network = build_network(tiny(), TABLE, seed=1)
    network.preprocess = network.preprocess.model_copy(update={"channel_order": "bgr"})
    write_checkpoint(tmp_path / "m.safetensors", checkpoint_of(network, tiny(), TABLE, {"x": 1}))
    stored = read_checkpoint(tmp_path / "m.safetensors")
    assert stored.meta.provenance == {"x": 1}
    for load in (load_baseline, load_encoder):
        other = build_network(tiny(), TABLE, seed=2)
        load(other, stored)
        assert other.preprocess.channel_order == "bgr"
        key = "trunk.stem.0.conv.weight"
        assert torch.equal(other.state_dict()[key], network.state_dict()[key])
        same_classifier = torch.equal(other.classifier.weight, network.classifier.weight)
        assert same_classifier == (load is load_baseline)


def test_provenance_names_versions_seed_and_sources(tiny: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    network = build_network(tiny(), TABLE, seed=1)
    write_checkpoint(path, checkpoint_of(network, tiny(), TABLE, {}))
    record = provenance_of(tiny(), Streets(), CPU, {"baseline": read_checkpoint(path)})
    assert record["torch"] == torch.__version__
    assert (record["seed"], record["dataset"]) == (3, "streets")
    assert record["device"] == "cpu, 1 threads"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["baseline"] == {"sha256": digest, "recipe": "tiny"}
    assert record["commit"] == source_commit()
    assert {role: found["images"] for role, found in record["data"].items()} == {
        "train": 6, "val": 2
    }  # fmt: skip
    assert "imgsz" not in record


def test_the_size_that_weights_were_published_for_stays_with_their_descendants(tiny: Make) -> None:
    network = build_network(tiny(), TABLE, seed=1)
    baseline = checkpoint_of(network, tiny(), TABLE, {"imgsz": [1025, 2049]})
    record = provenance_of(tiny(), Streets(), CPU, {"baseline": baseline})
    assert checkpoint_of(network, tiny(), TABLE, record).meta.imgsz == (1025, 2049)


def test_a_recipe_does_not_run_code_that_the_user_never_named(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTOOLKIT_TRUSTED_NETWORKS", "")
    foreign = tiny({"network.name": "os:system", "network.options": {"arguments": {}}})
    with pytest.raises(CheckpointError, match="the recipe tiny is of the network os:system"):
        build_network(foreign, TABLE, seed=1)


@pytest.mark.parametrize(("name", "crop"), [("pspnet50", [64, 96]), ("icnet", [32, 32])])
def test_a_batch_of_one_that_cannot_be_normalised_is_refused(
    name: str, crop: list[int], tiny: Make
) -> None:
    changes = {
        "network": {"name": name, "options": {"width": 0.0625}}, "augmentation.crop": crop,
        "schedule.batch_size": 1,
    }  # fmt: skip
    with pytest.raises(RecipeError, match=f"{name} cannot be trained on crops of .* one at a time"):
        build_network(tiny(changes), TABLE, seed=1)
    build_network(tiny(changes | {"optimizer.freeze_bn": True}), TABLE, seed=1)
    build_network(tiny(changes | {"schedule.batch_size": 2}), TABLE, seed=1)
