"""Networks of other packages, built with random weights and exported as their users would.

Nothing of these packages is a dependency: each lies in a folder of its own, made with

    pip install --target PEERS/NAME --no-deps PACKAGES

so that it brings neither another torch nor another numpy, and meets no other peer. mmcv-lite has no
compiled operators; the networks here use none of them, so an empty module stands in their place.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from artoolkit.errors import MissingLibraryError
from artoolkit.optional import require

CLASSES = 19
COMPILED = "mmcv._ext"
Size = tuple[int, int]


@dataclass(frozen=True)
class Package:
    """Contents of the folder for a peer; `roots` are the modules that are imported."""

    name: str
    needs: tuple[str, ...]
    roots: tuple[str, ...]

    @property
    def install(self) -> str:
        return f"pip install --target PEERS/{self.name} --no-deps {' '.join(self.needs)}"

    @contextmanager
    def on_path(self, packages: Path | None) -> Iterator[None]:
        """While it lasts, modules are found in `packages`/`name` too.

        After everything else: what the project itself uses stays what it is.
        """
        folder = None if packages is None else str((packages / self.name).resolve())
        if folder is not None:
            sys.path.append(folder)
        try:
            yield
        finally:
            if folder is not None:
                sys.path.remove(folder)

    def modules(self) -> list[types.ModuleType]:
        """The imported `roots`; `MissingLibraryError` with the command where one does not import.

        A compiled library that does not fit this torch raises RuntimeError or OSError.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return [importlib.import_module(root) for root in self.roots]
        except (ImportError, RuntimeError, OSError) as error:
            raise MissingLibraryError(
                f"{self.name} does not import", got=f"{type(error).__name__}: {error}",
                hint=f"Install it: {self.install}, and give --packages PEERS",
            ) from error  # fmt: skip

    def versions(self) -> dict[str, str]:
        """Versions of the installed ones among `needs`, by name without the pin."""
        found = {}
        for need in self.needs:
            name = need.partition("==")[0]
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return found


MMSEGMENTATION = Package(
    "mmsegmentation",
    needs=(
        "mmsegmentation==1.2.2", "mmcv-lite==2.1.0", "mmengine==0.10.7", "addict", "ftfy",
        "platformdirs", "prettytable", "regex", "termcolor", "wcwidth", "yapf",
    ),
    roots=("mmengine", "mmseg", "mmseg.utils", "mmseg.registry", "mmseg.models"),
)  # fmt: skip
SMP = Package(
    "segmentation-models-pytorch",
    needs=("segmentation-models-pytorch", "timm", "torchvision"),
    roots=("segmentation_models_pytorch",),
)
# Its encoders of timm need nothing of torchvision but that it imports, see `NoVision`.
SMP_ALONE = replace(SMP, needs=SMP.needs[:-1])

NNCF = Package(
    "nncf",
    needs=(
        "nncf==3.4.0", "networkx", "ninja", "openvino-telemetry", "pydot", "tabulate",
        "scikit-learn", "joblib", "threadpoolctl",
    ),
    roots=("nncf",),
)  # fmt: skip


def nncf_quantised(
    model: Path, images: NDArray[np.uint8], out: Path, packages: Path | None
) -> Path:
    """NNCF's post-training quantisation of `model` at its defaults, as OpenVINO's `out` (.xml).

    `images`: N x H x W x 3. `MissingLibraryError` where NNCF is not under `packages`.
    """
    with NNCF.on_path(packages):
        openvino = require("openvino", "quantising with NNCF")
        (nncf,) = NNCF.modules()
        dataset = nncf.Dataset([image[None] for image in images])
        read = openvino.Core().read_model(str(model))
        openvino.save_model(
            nncf.quantize(read, dataset, subset_size=len(images)), str(out), compress_to_fp16=False
        )
    return out


class NoOperators(types.ModuleType):
    """Stand-in that has every operator, as None: there to be looked up, never to be called."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def plain_norm(config: Any) -> Any:
    """A configuration with SyncBN replaced by BN, which is what runs on one device."""
    if isinstance(config, dict):
        return {key: plain_norm(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [plain_norm(value) for value in config]
    return "BN" if config == "SyncBN" else config


class FullSizeScores(nn.Module):
    """mmsegmentation's whole-image inference: scores at the image's size."""

    def __init__(self, segmentor: nn.Module, size: Size) -> None:
        super().__init__()
        self.segmentor, self.size = segmentor, size

    def forward(self, image: Tensor) -> Tensor:
        shapes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), self.size)
        scores: Tensor = self.segmentor.encode_decode(image, [shapes])  # type: ignore[operator]
        return scores


class Argmax(nn.Module):
    """int64 labels of what `network` scores, as deployment tools append it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.argmax(self.network(image), dim=1)


def mmsegmentation(config: str) -> Callable[[Size], nn.Module]:
    """A builder of the network that this file among the package's own configurations describes."""

    def build(size: Size) -> nn.Module:
        sys.modules.setdefault(COMPILED, NoOperators(COMPILED))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mmengine, mmseg, utils, registry, _ = MMSEGMENTATION.modules()
            utils.register_all_modules()
            folder = Path(str(mmseg.__file__)).parent / ".mim" / "configs"
            model = plain_norm(mmengine.Config.fromfile(folder / config).model.to_dict())
            return FullSizeScores(registry.MODELS.build(mmengine.ConfigDict(model)), size)

    return build


class _Named(type):
    """A class that has every name: transforms of torchvision are listed, never called here."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class NoVision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stand-in for torchvision, which would bring another torch: classes by any name."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        ours = name.partition(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = NoOperators(spec.name)
        module.__class__ = _Classes
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Classes(NoOperators):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (), {})


def smp_smallest(size: Size) -> nn.Module:
    """LinkNet on timm's smallest MobileNetV3 (0.9 million parameters).

    PSPNet on it has 0.5, but its pooling becomes thousands of nodes, as `PEERS` says.
    """
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(NoVision())
    (smp,) = SMP_ALONE.modules()
    encoder = "timm-mobilenetv3_small_minimal_100"
    network: nn.Module = smp.Linknet(encoder, encoder_weights=None, classes=CLASSES)
    return network


def smp_pspnet(size: Size) -> nn.Module:
    """PSPNet on ResNet-50 of segmentation-models-pytorch, whose scores are at the image's size."""
    (smp,) = SMP.modules()
    network: nn.Module = smp.PSPNet("resnet50", encoder_weights=None, classes=CLASSES)
    return network


@dataclass(frozen=True)
class Peer:
    """One network of another package, and whether labels or scores leave it.

    `optimised`: whether torch's exporter simplifies the graph, as it does by default. ONNX Runtime
    does so again when it opens the file.
    """

    network: str
    package: Package
    build: Callable[[Size], nn.Module]
    labels: bool
    optimised: bool = True

    @property
    def output(self) -> str:
        return "labels" if self.labels else "scores"


ICNET = mmsegmentation("icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832.py")
PSPNET = mmsegmentation("pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py")
PIDNET = Peer(
    "PIDNet-S", MMSEGMENTATION,
    mmsegmentation("pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py"), labels=True,
)  # fmt: skip
SMALLEST = Peer("LinkNet-MobileNetV3-small", SMP_ALONE, smp_smallest, labels=True)
PEERS: Sequence[Peer] = (
    Peer("ICNet-R50", MMSEGMENTATION, ICNET, labels=True),
    Peer("ICNet-R50", MMSEGMENTATION, ICNET, labels=False),
    # Its pooling becomes thousands of nodes, which the exporter had not simplified in 8 minutes.
    Peer("PSPNet-R50", MMSEGMENTATION, PSPNET, labels=True, optimised=False),
    Peer("PSPNet-R50", SMP, smp_pspnet, labels=True),
)


def export_plainly(network: nn.Module, size: Size, path: Path, *, optimised: bool = True) -> None:
    """torch.onnx.export at its defaults, but for `optimised`.

    From float32 1 x 3 x H x W `image`, normalised, to `output`.

    The dynamo exporter, since the older one refuses `adaptive_avg_pool2d` to sizes that do not
    divide the input's.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, *size),),
            str(path),
            input_names=["image"],
            output_names=["output"],
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=optimised,
        )
