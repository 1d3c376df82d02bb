"""Bring your own network: `package.module:factory` becomes a `Network` like the built-in ones.

The factory, a function or an `nn.Module` class, returns a module from B x 3 x H x W images to
scores B x C x h x w: a tensor, or a tuple or mapping with them. Where several entries could be the
scores, the user says which (`main`): the first is the auxiliary one as often as not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from artoolkit.errors import UsageError
from artoolkit.networks.factory import make_module
from artoolkit.networks.network import Network, Outputs
from artoolkit.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from artoolkit.spec import Frozen, problems
from artoolkit.words import ChannelOrder

PREFIX = "module."
PROBE_HW = (256, 320)
# What published code calls the scores in a mapping.
SCORES = ("out", "logits")


class CustomOptions(Frozen):
    """Conventions that artoolkit cannot see in a module, with the defaults of most.

    `mean` and `std` in units of 0-255, in the order of `channel_order`. `align_corners` is that of
    the resize which brings the scores to the label's size; it does not matter where they have that
    size already. `aux_weights` names further outputs (keys of the dict; "1", "2" in a tuple) with
    their loss weights; `terms` are further terms of the loss, as in a recipe's `loss.terms`, each
    with its `output`. `encoder` and `training_only` are prefixes of the module's own keys.
    `main` is the key or index of the scores where that is not plain; `void_outputs` are channels
    of void among them, left out of what is predicted. `only_hw` is the one size that the network
    runs at. `arguments` go to the factory, by name or, where `namespace` names the parameter that
    takes one object (`args`, `cfg`), as its attributes.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: ChannelOrder = "rgb"
    align_corners: bool = False
    aux_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    terms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    encoder: tuple[str, ...] = ()
    training_only: tuple[str, ...] = ()
    minimum_hw: tuple[int, int] = (32, 32)
    main: str | Annotated[int, Field(ge=0)] | None = None
    void_outputs: tuple[Annotated[int, Field(ge=0)], ...] = ()
    only_hw: tuple[int, int] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    namespace: str | None = None

    @model_validator(mode="after")
    def _in_units_of_bytes(self) -> CustomOptions:
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be positive")
        if max(self.std) < 1 or 0 < max(self.mean) <= 1:
            raise ValueError(
                f"mean {self.mean} and std {self.std} are of pixels from 0 to 1, not 0 to 255: "
                f"give mean {_times_255(self.mean)} and std {_times_255(self.std)}"
            )
        return self


def _times_255(values: tuple[float, float, float]) -> str:
    return ",".join(f"{255 * value:g}" for value in values)


class CustomNetwork(Network):
    """A user's module with what artoolkit needs to know about it. Its keys start with "module."."""

    def __init__(self, module: nn.Module, num_classes: int, options: CustomOptions) -> None:
        super().__init__(num_classes)
        self.module = module
        self.align_corners = options.align_corners
        self.aux_weights = MappingProxyType(dict(options.aux_weights))
        self.terms = MappingProxyType(dict(options.terms))
        self.encoder = tuple(PREFIX + prefix for prefix in options.encoder)
        self.training_only = tuple(PREFIX + prefix for prefix in options.training_only)
        self.minimum_hw = options.only_hw or options.minimum_hw
        self.only_hw, self.void_outputs = options.only_hw, frozenset(options.void_outputs)
        self.main = None if options.main is None else str(options.main)
        self.unreached: tuple[str, ...] = ()
        self.has_logits = False
        self.preprocess = Preprocess(
            mean=options.mean, std=options.std, channel_order=options.channel_order
        )

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        returned = self.called(images_B3HW)
        if not self.training:
            return self._scores(_output(returned, "main", self.main))
        self.find_main(returned)  # in training some return more than in evaluation
        found = {name: self._scores(_output(returned, name, self.main)) for name in self.outputs}
        self._check_logits(found["main"])
        return found

    def called(self, images_B3HW: Tensor) -> object:
        """What the module returns; what it raises becomes a `UsageError`, apart from memory.

        Not of meta tensors and not while it is exported: those who do either ask what it was.
        """
        try:
            return self.module(images_B3HW if self.channels_last else images_B3HW.contiguous())
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            other = images_B3HW.is_meta or torch.compiler.is_exporting()
            if other or isinstance(error, torch.OutOfMemoryError):
                raise
            raise UsageError(
                f"network {self.name} fails on images of {' x '.join(map(str, images_B3HW.shape))}"
                f"{' in training' if self.training else ''}: {type(error).__name__}: {error}",
                hint="Another size: --imgsz H W; one size only: --option only_hw=[H,W]. Where it "
                "takes more than a tensor B x 3 x H x W, give a factory that wraps it.",
            ) from error

    def _check_logits(self, scores: Tensor) -> None:
        """`UsageError`, in the first step, where the loss would take a softmax of a softmax."""
        if self.has_logits or scores.is_meta:
            return
        values = scores.detach().float()
        if float(values.min()) >= 0 and bool((values.sum(1) - 1).abs().max() < 1e-2):
            raise UsageError(
                f"network {self.name} returns probabilities in training",
                expected="scores before the softmax: the loss takes one itself",
                hint="Give a factory whose module leaves it out.",
            )
        self.has_logits = True

    @property
    def trial_hw(self) -> tuple[int, int]:
        if self.only_hw is not None:
            return self.only_hw
        return max(PROBE_HW[0], self.minimum_hw[0]), max(PROBE_HW[1], self.minimum_hw[1])

    def check_size(self, images_B3HW: Tensor) -> tuple[int, int]:
        height, width = super().check_size(images_B3HW)
        if self.only_hw not in (None, (height, width)):
            raise UsageError(
                f"{self.name} runs at one size only",
                got=f"{height} x {width}",
                expected="--imgsz {} {}".format(*self.only_hw),
            )
        return height, width

    def _scores(self, scores: Tensor) -> Tensor:
        """Without the channels of void, where the output has them."""
        if not self.void_outputs or scores.shape[1] != self.num_classes + len(self.void_outputs):
            return scores
        kept = [c for c in range(scores.shape[1]) if c not in self.void_outputs]
        if kept == list(range(kept[0], kept[-1] + 1)):
            return scores[:, kept[0] : kept[-1] + 1]
        return scores[:, kept]

    def find_main(self, returned: object) -> None:
        """Settles which entry holds the scores; `UsageError` where only the user can know."""
        if self.main is not None or isinstance(returned, Tensor):
            return
        entries = _entries(returned)
        channels = self.num_classes + len(self.void_outputs)
        alike = [
            name
            for name, value in entries.items()
            if isinstance(value, Tensor) and value.ndim == 4 and value.shape[1] == channels
            and name not in self.outputs
        ]  # fmt: skip
        usual = [name for name in SCORES if name in alike]
        if len(alike) > 1 and not usual:
            raise UsageError(
                f"{len(alike)} outputs of the network have {channels} channels",
                got=", ".join(alike),
                hint=f"Say which one holds the scores: --option main={alike[-1]}, for example; "
                "name auxiliary ones with --option aux_weights={...}.",
            )
        if usual or alike:
            self.main = (usual or alike)[0]


def _entries(returned: object, head: str = "") -> dict[str, object]:
    """What the module returned by key or index; what lies deeper by a path such as "0.main"."""
    if isinstance(returned, Mapping):
        inside = [(str(key), value) for key, value in returned.items()]
    elif isinstance(returned, (tuple, list)):
        inside = [(str(index), value) for index, value in enumerate(returned)]
    elif is_dataclass(returned) and not isinstance(returned, type):
        inside = [(field.name, getattr(returned, field.name)) for field in fields(returned)]
    else:
        return {head: returned}
    found = (_entries(value, f"{head}.{key}" if head else key) for key, value in inside)
    return {key: value for entries in found for key, value in entries.items()}


def _output(returned: object, name: str, main: str | None) -> Tensor:
    """The named output of what the module returned; `UsageError` where there is none."""
    entries = _entries(returned)
    if name != "main":
        found = entries.get(name)
    elif isinstance(returned, Tensor):
        found = returned
    else:
        usual = (main,) if main is not None else (*SCORES, "0")
        found = next((entries[key] for key in usual if key in entries), None)
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = f" of shape {tuple(found.shape)}" if isinstance(found, Tensor) else ""
        inside = "" if "" in entries else f" with {', '.join(entries)}"
        raise UsageError(
            f"the network does not return its {name} scores",
            got=f"{type(returned).__name__}{shape}{inside}",
            expected="a tensor B x C x h x w, or a tuple or dict with it (--option main=KEY)",
            hint="Scores of another shape: give a factory whose module reshapes them.",
        )
    return found


def _probed_stride(network: CustomNetwork) -> int:
    """Image pixels per score, from one image in evaluation mode.

    `UsageError` where the module does not run or is random, or returns another number of classes,
    or most of its parameters have no part in the scores.
    """
    height, width = network.trial_hw
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    # Of zeros most features would be zeros too, and what is random would stay hidden.
    ramp = torch.linspace(-2, 2, 3 * height * width, device=device).view(1, 3, height, width)
    images = ramp.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    network.eval()
    try:
        with torch.no_grad():
            network.find_main(network.called(ramp.clone()))  # some write into their input
        with torch.enable_grad():
            try:  # two, pixel by pixel, as images come: `Tensor.view` may fail then
                scores: Tensor = network(images.clone())
            except UsageError:
                network.channels_last, images = False, ramp
                scores = network(images.clone())
        with torch.no_grad():
            again = network(images)
    finally:
        network.train()
    _, classes, rows, columns = scores.shape
    if classes != network.num_classes:
        raise UsageError(
            f"network {network.name} returns other classes",
            got=classes,
            expected=network.num_classes,
            hint=_other_classes(network, tuple(scores.shape)),
        )
    strides = round(height / rows), round(width / columns)
    larger = rows > height or columns > width
    if larger or strides[0] != strides[1]:
        fault = "returns more scores than pixels" if larger else "scales both sides differently"
        raise UsageError(
            f"network {network.name} {fault}",
            got=f"scores of {rows} x {columns} for an image of {height} x {width}",
            hint="Give a factory whose module leaves the last resize out: artoolkit resizes to "
            "the labels itself.",
        )
    if not torch.allclose(again, scores, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise UsageError(
            f"network {network.name} gives an image other scores each time it sees it",
            hint="No export can do the same. Is it functional.dropout without self.training?",
        )
    _find_unreached(network, scores)
    return strides[0]


def _other_classes(network: CustomNetwork, shape: tuple[int, ...]) -> str:
    """The next step where the scores have `shape`, B x C x h x w, and C is not what it should."""
    classes, extra = network.num_classes, shape[1] - network.num_classes
    if shape[-1] == classes:
        return (
            "The last axis is of classes: give a factory whose module permutes it to B x C x h x w."
        )
    if extra > 0 and network.void_outputs:
        return (
            f"It is asked for {classes + len(network.void_outputs)} channels, those of void among "
            f"them; where it adds them itself: --option 'arguments={{\"num_classes\": {classes}}}'."
        )
    if extra in (1, 2):
        last = list(range(classes, shape[1]))
        return f"Where the last is void: --option void_outputs={last}; the first: [0]."
    return (
        "Is another output the scores: --option main=KEY? Has its factory another word for the "
        "number of classes: --option 'arguments={...}'?"
    )


def _find_unreached(network: CustomNetwork, scores: Tensor) -> None:
    """Sets `unreached`: parameters without a part in the scores, from the graph of gradients.

    What is declared as `training_only` counts neither as reached nor as missing. `UsageError`
    where most are unreached: the wrong output was taken, or the wrong network.
    """
    seen, reached, waiting = set(), set(), [scores.grad_fn]
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        reached.add(id(getattr(step, "variable", None)))
        waiting.extend(before for before, _ in step.next_functions)
    deployed = {
        key: parameter
        for key, parameter in network.named_parameters()
        if parameter.requires_grad and not key.startswith(network.training_only)
    }
    if scores.grad_fn is None:
        return
    missing = {key: value for key, value in deployed.items() if id(value) not in reached}
    network.unreached = tuple(missing)
    lost, whole = (sum(p.numel() for p in ps.values()) for ps in (missing, deployed))
    if 2 * lost > whole:
        keys = [key.removeprefix(PREFIX) for key in missing]
        raise UsageError(
            f"most parameters of network {network.name} never reach its scores",
            got=f"{lost:,} of {whole:,}: {', '.join(keys[:8])}{', ...' if keys[8:] else ''}",
            hint="Is another output the scores? --option main=KEY. Parts that exist in training "
            "only: --option 'training_only=[\"PREFIX\"]'. Under no_grad: requires_grad_(False).",
        )


def build_custom(name: str, num_classes: int, options: Mapping[str, Any]) -> CustomNetwork:
    """The user's network in training mode; `options` are those of `CustomOptions`.

    `UsageError` where the options, the factory or what it makes do not fit, with the reason.
    """
    try:
        checked = CustomOptions.model_validate(dict(options))
    except ValidationError as error:
        raise UsageError(f"options of network {name} are not valid: {problems(error)}") from error
    module = make_module(
        name, num_classes + len(checked.void_outputs), checked.arguments, checked.namespace
    )
    network = CustomNetwork(module, num_classes, checked)
    network.name = name
    known, declared = frozenset(network.state_dict()), _buffers(network)
    network.output_stride = _probed_stride(network)
    if made := network.state_dict().keys() - known:
        # Buffers that the probe's image made have its size: every image makes its own.
        for key in made:
            owner, _, last = key.rpartition(".")
            if key in declared:
                setattr(network.get_submodule(owner), last, None)
            else:
                delattr(network.get_submodule(owner), last)
        # torch leaves this method without types.
        network.register_state_dict_post_hook(partial(_keep, known))  # type: ignore[no-untyped-call]
    return network


def _buffers(network: nn.Module) -> set[str]:
    """Keys of all buffers, those that are None too."""
    return {f"{path}.{key}" for path, part in network.named_modules() for key in part._buffers}


def _keep(
    known: Collection[str], module: nn.Module, state: dict[str, Any], prefix: str, metadata: object
) -> None:
    for key in [key for key in state if key.removeprefix(prefix) not in known]:
        if key.startswith(prefix):
            del state[key]
