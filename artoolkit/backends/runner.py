"""Interface of every open backend: images in, named arrays out, nothing timed.

The clock belongs to the caller, so every backend is measured the same way. `OpenRunner` holds what
all of them share: the check of the input, the context manager, and closing once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import BackendError
from artoolkit.preprocess import as_taken
from artoolkit.spec import RunnerSpec, TensorSpec

Feeds = Mapping[str, NDArray[Any]]
# Images alone stand for the only input.
Batch = NDArray[Any] | Feeds
Outputs = dict[str, NDArray[Any]]


class Runner(Protocol):
    """One open backend. `infer` returns when the outputs are in host memory.

    `infer` takes what `spec.inputs` names, of exactly these shapes and types: uint8 N x H x W x 3
    RGB images (also where the graph takes the same pixels as float32 N x 3 x H x W), or a mapping
    from names to arrays for graphs that artoolkit did not make. It returns one array per name of
    `spec.outputs`, owned by the caller. It raises `BackendError` for anything else and after
    `close`, which may be called again.
    """

    @property
    def spec(self) -> RunnerSpec: ...

    def infer(self, batch: Batch, /) -> Outputs: ...

    def close(self) -> None: ...

    def __enter__(self) -> Runner: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class OpenRunner(ABC):
    """The shared half of a `Runner`: subclasses compute in `_infer` and let go in `_release`."""

    def __init__(self, spec: RunnerSpec) -> None:
        self._spec = spec
        self._closed = False

    @property
    def spec(self) -> RunnerSpec:
        return self._spec

    def infer(self, batch: Batch, /) -> Outputs:
        if self._closed:
            raise BackendError(f"this {self._spec.backend} runner was closed", hint="Open another.")
        return self._infer(checked_feeds(self._spec, batch))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> OpenRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _infer(self, feeds: Feeds) -> Outputs: ...

    @abstractmethod
    def _release(self) -> None: ...


def described(tensor: TensorSpec) -> str:
    """`uint8 1x32x64x3`."""
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}"


def checked_feeds(spec: RunnerSpec, batch: Batch) -> Feeds:
    """Contiguous arrays by input name, or a `BackendError` where a type or shape is another."""
    feeds = batch if isinstance(batch, Mapping) else {spec.inputs[0].name: _taken(spec, batch)}
    if feeds.keys() != {tensor.name for tensor in spec.inputs}:
        raise BackendError(
            "these are not the graph's inputs",
            got=", ".join(feeds),
            expected=", ".join(tensor.name for tensor in spec.inputs),
        )
    return {tensor.name: _checked(tensor, feeds[tensor.name]) for tensor in spec.inputs}


def images_shape(spec: RunnerSpec) -> tuple[int, int, int]:
    """Images, height and width of the one input of a deployed graph, in either layout."""
    tensor = spec.inputs[0]
    images, *sides = tensor.shape
    height, width = sides[1:] if tensor.dtype == "float32" else sides[:2]
    return images, height, width


def _taken(spec: RunnerSpec, images: NDArray[Any]) -> NDArray[Any]:
    """uint8 N x H x W x 3 images in the layout that the graph takes; anything else as it is."""
    shape = getattr(images, "shape", ())
    if len(shape) == 4 and images.dtype == np.uint8 and spec.inputs[0].dtype == "float32":
        return as_taken(images, "nchw_float32")
    return images


def _checked(expected: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise BackendError(
            f"{expected.name} is no numpy array",
            got=type(array).__name__,
            expected=described(expected),
        )
    got = TensorSpec(name=expected.name, dtype=array.dtype.name, shape=array.shape)
    if got != expected:
        raise BackendError(
            f"{expected.name} is not what this graph takes",
            got=described(got),
            expected=described(expected),
            hint="Bring images to the target's size with artoolkit.preprocess.fit_image.",
        )
    return np.asarray(array, order="C")
