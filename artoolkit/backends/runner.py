"""What every open backend is: images in, named arrays out, nothing timed.

The clock belongs to the caller, so every backend is measured the same way. `OpenRunner` holds what
all of them share: the check of the input, the context manager, and closing once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import BackendError
from artoolkit.spec import RunnerSpec, TensorSpec

Outputs = dict[str, NDArray[Any]]
Feeds = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """One open backend. `infer` returns when the outputs are in host memory.

    `infer` takes uint8 N x H x W x 3 RGB of exactly the shape that `spec` names, and returns one
    array per name of `spec.outputs`, owned by the caller. It raises `BackendError` for anything
    else and after `close`, which may be called again.
    """

    @property
    def spec(self) -> RunnerSpec: ...

    def infer(self, images: NDArray[np.uint8]) -> Outputs: ...

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

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        if self._closed:
            raise BackendError(f"this {self._spec.backend} runner was closed", hint="Open another.")
        return self._infer(checked_images(self._spec, images))

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
    def _infer(self, images: NDArray[np.uint8]) -> Outputs: ...

    @abstractmethod
    def _release(self) -> None: ...


class FeedRunner:
    """An open graph of anybody: `infer` takes a mapping from input names to arrays."""

    def __init__(self, spec: RunnerSpec, run: Callable[[Feeds], Outputs]) -> None:
        self.spec = spec
        self._run: Callable[[Feeds], Outputs] | None = run

    def infer(self, batch: Feeds, /) -> Outputs:
        if self._run is None:
            raise BackendError(f"this {self.spec.backend} runner was closed", hint="Open another.")
        return self._run(batch)

    def close(self) -> None:
        self._run = None


def described(tensor: TensorSpec) -> str:
    """`uint8 1x32x64x3`."""
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}"


def checked_images(spec: RunnerSpec, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`images`, contiguous, or a `BackendError` if their type or shape is not the runner's."""
    expected = spec.inputs[0]
    if not isinstance(images, np.ndarray):
        raise BackendError(
            "the images are no numpy array",
            got=type(images).__name__,
            expected=described(expected),
        )
    if images.dtype.name != expected.dtype or images.shape != expected.shape:
        got = TensorSpec(name=expected.name, dtype=images.dtype.name, shape=images.shape)
        raise BackendError(
            "the images are not what this graph takes",
            got=described(got),
            expected=described(expected),
            hint="Bring them to the target's size with artoolkit.preprocess.fit_image.",
        )
    return np.ascontiguousarray(images)
