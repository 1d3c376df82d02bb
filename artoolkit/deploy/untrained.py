"""A network that was never trained, so that its latency is known before anyone trains it."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.data.street.scene import street_scene
from artoolkit.deploy.graph import Deployed
from artoolkit.errors import UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import Network, build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta

# Of more, bf16 gives other labels in more than 0.5 % of the pixels; of fewer, one class is left.
DIRECTIONS = 3


def untrained_checkpoint(
    network: str,
    num_classes: int,
    *,
    labels: LabelTable | None = None,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    imgsz: tuple[int, int] | None = None,
) -> Checkpoint:
    """A checkpoint of `network` with random weights, the same for the same `seed` and `imgsz`.

    `imgsz`: height and width in pixels of the streets that it is made to fit (None: twice the least
    that it takes). Numbers keep a sane size on them in every precision, since denormal or infinite
    ones would change the time, and labels do not nearly tie, so that every precision gives the
    same ones. `UsageError` for an unknown network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build(network, num_classes=num_classes, layout=layout, **(options or {}))
        size_hw = imgsz or built.trial_hw
        pixels, file_ids = map(
            np.stack, zip(*(street_scene(n, size_hw) for n in (0, 1)), strict=True)
        )
        deployed = Deployed(built, built.preprocess).eval()
        images = deployed.normalised(torch.from_numpy(pixels))
        try:
            _settle(built, images)
        except (RuntimeError, ValueError, AssertionError) as error:  # a user's code, by its size
            raise UsageError(
                f"network {network} fails on an image of {size_hw[0]} x {size_hw[1]}: {error}",
                hint="Give another --imgsz.",
            ) from error
        _spread(built, images, torch.from_numpy(file_ids))
    meta = CheckpointMeta(
        network=network,
        num_classes=num_classes,
        layout=layout,
        options=built.options,
        labels=labels or numbered_classes(num_classes),
        preprocess=built.preprocess,
        provenance={"untrained": True, "seed": seed},
    )
    return Checkpoint(meta, {key: value.clone() for key, value in built.state_dict().items()})


def numbered_classes(count: int) -> LabelTable:
    """`class_0`, `class_1`, ... in colors around the wheel, for networks without a data set."""
    hues = [colorsys.hsv_to_rgb(index / count, 0.8, 0.9) for index in range(count)]
    return LabelTable(
        name="untrained",
        names=tuple(f"class_{index}" for index in range(count)),
        colors=tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues),
        file_ids=tuple(range(count)),
    )


def _settle(network: Network, images_B3HW: Tensor) -> None:
    """Give batch normalisation the statistics of these images, in one pass from input to scores.

    Random layers with ReLU are chaotic: rounding grows from layer to layer until fp16 gives other
    labels. A bias of 2 standard deviations keeps nearly every value on ReLU's linear side.
    """

    def observe(norm: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)
        mean, variance = values.mean(1), values.var(1, correction=0)
        # Of a few positions (global pooling) a channel's own variance is chance, near 0 at times.
        variance = values.var() if values.shape[1] < 64 else variance
        assert norm.running_mean is not None and norm.running_var is not None, "both are tracked"
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp_min(0.3 * float(variance.mean())))
        if norm.bias is not None:
            norm.bias.fill_(2.0)

    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    hooks = [norm.register_forward_pre_hook(observe) for norm in norms]
    with torch.no_grad():
        network.eval()(images_B3HW)
    for hook in hooks:
        hook.remove()


def _spread(network: Network, images_B3HW: Tensor, file_ids_BHW: Tensor) -> None:
    """Make the classifier tell the street's classes apart by what bf16 computes well.

    Scores of a random classifier nearly tie in many pixels, so that labels differ by rounding
    alone. Least squares over the few directions of its input with the most variance beside their
    rounding; a network without one convolution called `classifier` is left as it is.
    """
    found = [
        module
        for name, module in network.named_modules()
        if name.endswith("classifier") and not f"{name}.".startswith(network.training_only)
    ]
    if len(found) != 1 or not isinstance(classifier := found[0], nn.Conv2d):
        return
    seen: list[Tensor] = []

    def keep(module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert not isinstance(module.padding, str), "classifiers are padded by numbers"
        patches = functional.unfold(
            inputs[0].float(), module.kernel_size, module.dilation, module.padding, module.stride
        )
        ids = functional.interpolate(file_ids_BHW[:, None].float(), output.shape[-2:]).flatten()
        rows = patches.transpose(1, 2).flatten(0, 1)
        every = max(len(rows) // 8192, 1)  # as many pixels as 9 x 128 unknowns need
        seen[:] = [*seen, rows[::every].double(), ids[::every].long()]

    hook = classifier.register_forward_hook(keep)
    with torch.no_grad():
        network(images_B3HW)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network(images_B3HW)
    hook.remove()
    exact, ids, rounded, _ = seen
    centred, error = exact - exact.mean(0), rounded - exact
    noise = error.T @ error
    noise += noise.trace() / len(noise) * torch.eye(len(noise), dtype=noise.dtype)
    half = torch.linalg.inv(torch.linalg.cholesky(noise))
    _, directions = torch.linalg.eigh(half @ (centred.T @ centred) @ half.T)
    basis = half.T @ directions[:, -DIRECTIONS:]
    wanted = functional.one_hot(ids % network.num_classes, network.num_classes).double()
    weight = basis @ torch.linalg.lstsq(centred @ basis, wanted - wanted.mean(0)).solution
    bias = wanted.mean(0) - exact.mean(0) @ weight
    with torch.no_grad():
        classifier.weight.copy_(10 * weight.T.reshape(classifier.weight.shape))
        if classifier.bias is not None:
            classifier.bias.copy_(10 * bias)
