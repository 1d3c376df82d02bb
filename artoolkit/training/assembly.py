"""Recipe, data set and starting weights to a `Learner`: everything is checked before it starts."""

from __future__ import annotations

import platform
from typing import Any, Literal

import numpy as np
import torch
from torch.func import functional_call

from artoolkit import __version__
from artoolkit.commit import source_commit
from artoolkit.data import DataSet
from artoolkit.data.fingerprint import fingerprint
from artoolkit.errors import BackendError, CheckpointError, RecipeError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.labels import LabelTable
from artoolkit.networks import Network, build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, load_strictly
from artoolkit.networks.factory import check_trusted, is_custom
from artoolkit.networks.importing import encoder_prefixes
from artoolkit.training.loader import selected
from artoolkit.training.recipe import Recipe


def usable_device(name: str) -> torch.device:
    """The torch device `name`, or a `BackendError` if this machine cannot train on it."""
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise BackendError(
                f"device {name} cannot be used: torch finds no CUDA GPU", hint="Use --device cpu."
            )
        index = torch.device(name).index or 0
        if index >= torch.cuda.device_count():
            raise BackendError(
                "no such GPU", got=name, expected=f"below cuda:{torch.cuda.device_count()}"
            )
    elif name != "cpu":
        raise UsageError("training runs on cpu or cuda", got=name)
    return torch.device(name)


def build_network(recipe: Recipe, labels: LabelTable, *, seed: int) -> Network:
    """The recipe's network with first weights drawn from `seed`.

    `RecipeError` where the recipe's images or batches are too small for it. `CheckpointError` if
    it is code outside artoolkit that the user never named (`factory.trust`): a recipe travels in
    checkpoints and in folders of runs.
    """
    choice = recipe.network
    if is_custom(choice.name):
        check_trusted(choice.name, f"the recipe {recipe.name}")
    torch.manual_seed(seed)
    network = build(
        choice.name, num_classes=labels.num_classes, layout=choice.layout, **choice.options
    )
    for place, size in (
        ("augmentation.crop", recipe.augmentation.crop),
        ("evaluation.imgsz", recipe.evaluation.imgsz or network.minimum_hw),
    ):
        if size[0] < network.minimum_hw[0] or size[1] < network.minimum_hw[1]:
            raise RecipeError(
                f"{place} is too small for {network.name}",
                got="{} x {}".format(*size),
                expected="at least {} x {}".format(*network.minimum_hw),
            )
    if recipe.schedule.batch_size == 1 and not recipe.optimizer.freeze_bn:
        check_batch_of_one(network, recipe.augmentation.crop)
    return network


def check_batch_of_one(network: Network, crop: tuple[int, int]) -> None:
    """`RecipeError` where batch normalisation would see a single value a channel.

    Pooling to one bin leaves one, and so does a crop as small as the network's stride. Nothing is
    computed (meta tensors).
    """
    state = {
        name: tensor.detach().to("meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    try:
        with torch.no_grad():
            functional_call(network, state, (torch.empty(1, 3, *crop, device="meta"),))
    except ValueError as error:
        raise RecipeError(
            f"{network.name} cannot be trained on crops of {crop[0]} x {crop[1]} one at a time: "
            f"{error}",
            hint="Set schedule.batch_size to 2 or more, or optimizer.freeze_bn to true.",
        ) from error
    except RuntimeError:  # a user's network may need real numbers: its first step will show
        return


def settled(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with the precision that `auto` means on `device`.

    Raises `RecipeError` for fp16 without a GPU: it has neither speed nor a gradient scaler there.
    """
    if recipe.execution.precision == "fp16" and device.type != "cuda":
        raise RecipeError(
            "execution.precision fp16 needs a CUDA GPU", got=device, expected="auto, bf16 or fp32"
        )
    if recipe.execution.precision != "auto":
        return recipe
    execution = recipe.execution.model_copy(update={"precision": native_precision(device)})
    return recipe.model_copy(update={"execution": execution})


def native_precision(device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """The fastest precision to train in that `device` has instructions for."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    # Neither name is public; where a version of torch lacks one, fp32 is the safe answer.
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    native = any(getattr(torch.cpu, test, lambda: False)() for test in tests)
    return "bf16" if native else "fp32"


def check_baseline(baseline: Checkpoint, recipe: Recipe, labels: LabelTable) -> None:
    """`CheckpointError` unless `baseline` is the recipe's network with the data set's classes."""
    meta, source = baseline.meta, baseline.path or "the baseline"
    asked = (recipe.network.name, recipe.network.layout, recipe.network.options)
    stored = (meta.network, meta.layout, meta.options)
    if asked != stored:
        raise CheckpointError(
            f"{source} holds another network",
            got=_described(*stored),
            expected=_described(*asked),
            hint="Leave --recipe and network.* out to go on with the baseline's own network.",
        )
    if meta.labels.names != labels.names:
        raise CheckpointError(
            f"{source} was trained for other classes",
            got=f"{meta.num_classes}: {', '.join(meta.labels.names[:4])} ...",
            expected=f"{labels.num_classes} of {labels.name}: {', '.join(labels.names[:4])} ...",
            hint="Fine-tune on the data set that the baseline was trained for.",
        )


def _described(name: str, layout: str | None, options: dict[str, Any]) -> str:
    extra = [f"layout {layout}"] if layout else []
    return ", ".join([name, *extra, *(f"{key}={value}" for key, value in options.items())])


def load_baseline(network: Network, baseline: Checkpoint) -> None:
    """All weights of `baseline`, and the normalisation they were trained with."""
    load_strictly(network, baseline.state, str(baseline.path or "the baseline"))
    network.preprocess = baseline.meta.preprocess


def load_encoder(network: Network, source: Checkpoint) -> None:
    """The encoder's weights of `source`, which may have other classes or another decoder.

    Raises `CheckpointError` naming every encoder weight that is missing or of another shape.
    """
    own = network.state_dict()
    wanted = [key for key in own if key.startswith(encoder_prefixes(network))]
    wrong = [
        key
        for key in wanted
        if key not in source.state or source.state[key].shape != own[key].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{source.path or 'the checkpoint'} ({source.meta.network}) does not hold the encoder "
            f"of {network.name}",
            got=f"{len(wrong)} of {len(wanted)} weights missing or of another shape, "
            f"for example {wrong[0]}",
        )
    network.load_state_dict({key: source.state[key] for key in wanted}, strict=False)
    network.preprocess = source.meta.preprocess


def checkpoint_of(
    network: Network, recipe: Recipe, labels: LabelTable, provenance: dict[str, Any]
) -> Checkpoint:
    """The network's weights with the effective recipe and where they come from."""
    effective = recipe.model_dump(mode="json", exclude_none=True)
    meta = CheckpointMeta.of(network, labels, recipe=effective, provenance=provenance)
    return Checkpoint(meta, network.state_dict())


def provenance_of(
    recipe: Recipe, dataset: DataSet, device: torch.device, sources: dict[str, Checkpoint]
) -> dict[str, Any]:
    """Versions, commit, seed and environment; fingerprints of the data, and the sha256 of the
    checkpoints it starts from.

    The input size that a baseline was published for stays with its descendants ("imgsz").
    """
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "artoolkit": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "device": gpu or f"cpu, {torch.get_num_threads()} threads",
        "seed": recipe.seed,
        "dataset": dataset.name,
        "data": data_fingerprints(recipe, dataset),
        **{role: _identity(source) for role, source in sources.items()},
        **_published_size(sources.get("baseline")),
    }


def data_fingerprints(recipe: Recipe, dataset: DataSet) -> dict[str, Any]:
    """Fingerprints of the data that `recipe` trains and is judged on, by role."""
    roles = (("train", recipe.data.train), ("val", recipe.data.val))
    return {role: fingerprint(selected(dataset, selection)) for role, selection in roles}


def _identity(source: Checkpoint) -> dict[str, Any]:
    digest = file_sha256(source.path) if source.path else None
    return {"sha256": digest, "recipe": source.meta.recipe.get("name")}


def _published_size(baseline: Checkpoint | None) -> dict[str, Any]:
    size = baseline.meta.imgsz if baseline else None
    return {} if size is None else {"imgsz": list(size)}
