"""Any ONNX file on ONNX Runtime: several inputs of any type, fed by name, all outputs returned.

For comparing networks that artoolkit never made; bundles go through `open_onnxruntime`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.session import one_line, open_session, tensor_spec
from artoolkit.errors import BackendError
from artoolkit.spec import RunnerSpec

Feeds = Mapping[str, NDArray[Any]]


class FeedRunner:
    """An open session; `infer` takes a mapping from input names to arrays."""

    def __init__(self, session: Any, spec: RunnerSpec) -> None:
        self._session, self.spec = session, spec
        self._names = [tensor.name for tensor in spec.outputs]

    def infer(self, batch: Feeds, /) -> dict[str, NDArray[Any]]:
        if self._session is None:
            raise BackendError("this onnxruntime runner was closed", hint="Open another.")
        with one_line("ONNX Runtime could not run the graph"):
            values = self._session.run(self._names, dict(batch))
        return dict(zip(self._names, values, strict=True))

    def close(self) -> None:
        self._session = None


def open_feeds(model: Path, *, device: str = "cpu", threads: int | None = None) -> FeedRunner:
    """Open `model` on `device`, as `open_onnxruntime` does; every shape must be static.

    Raises `BackendError` if the file or the device cannot be had, or a shape is not static.
    """
    opened = open_session(model, device=device, threads=threads)
    spec = RunnerSpec(
        backend="onnxruntime",
        device=device,
        inputs=tuple(map(tensor_spec, opened.session.get_inputs())),
        outputs=tuple(map(tensor_spec, opened.session.get_outputs())),
        settings=opened.settings,
    )
    return FeedRunner(opened.session, spec)
