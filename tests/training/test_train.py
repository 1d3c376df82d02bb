"""`train` and `finetune` from Python: what names become, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from artoolkit.errors import RecipeError, UsageError
from artoolkit.spec import RequestedNetwork
from artoolkit.training.recipe import load_recipe
from artoolkit.training.train import requested_recipe, train


def test_another_network_replaces_the_recipes_and_the_same_one_changes_values() -> None:
    camvid = load_recipe("camvid")
    narrow = RequestedNetwork(name="icnet", options={"width": 0.25})
    same = requested_recipe("camvid", network=narrow).network
    assert (same.name, same.options) == ("icnet", {**camvid.network.options, "width": 0.25})
    other = RequestedNetwork(name="pspnet50", layout="semseg", options={"width": 0.5})
    found = requested_recipe(camvid, network=other).network
    assert (found.name, found.layout, found.options) == ("pspnet50", "semseg", {"width": 0.5})
    relaid = requested_recipe("camvid", network=RequestedNetwork(layout="semseg")).network
    assert relaid.model_dump() == camvid.network.model_dump() | {"layout": "semseg"}


def test_a_recipe_is_a_name_a_file_or_open_already(tmp_path: Path) -> None:
    changed = requested_recipe("camvid", "folder", changes={"schedule.epochs": 3})
    assert (changed.schedule.epochs, changed.data.dataset) == (3, "folder")
    assert requested_recipe(changed) == changed
    with pytest.raises(RecipeError, match=r"schedule\.epochs"):
        requested_recipe(changed, changes={"schedule.epochs": 0})
    with pytest.raises(UsageError, match="no data root for camvid"):
        train(load_recipe("camvid"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
