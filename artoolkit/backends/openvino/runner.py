"""What runs a compiled model: images of a bundle, or feeds of any ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.openvino.loader import Compiled, failing
from artoolkit.backends.runner import FeedRunner, Feeds, OpenRunner, Outputs
from artoolkit.spec import RunnerSpec


def _spec(compiled: Compiled, device: str) -> RunnerSpec:
    return RunnerSpec(
        backend="openvino",
        device=device,
        inputs=compiled.inputs,
        outputs=compiled.outputs,
        settings=compiled.settings,
    )


def _run(request: Any, names: list[str], feeds: Feeds) -> Outputs:
    """One inference; the outputs are copies, since the request writes to its own again."""
    with failing("OpenVINO could not run the graph"):
        request.infer(dict(feeds), share_inputs=True)
        return {name: np.array(request.get_tensor(name).data) for name in names}


class OpenVinoRunner(OpenRunner):
    """A compiled bundle: uint8 images in, named arrays out."""

    def __init__(self, compiled: Compiled, device: str) -> None:
        super().__init__(_spec(compiled, device))
        self._compiled: Compiled | None = compiled
        self._request: Any = compiled.model.create_infer_request()
        self._names = [tensor.name for tensor in compiled.outputs]

    def _infer(self, images: NDArray[np.uint8]) -> Outputs:
        return _run(self._request, self._names, {self.spec.inputs[0].name: images})

    def _release(self) -> None:
        self._request = self._compiled = None


def feed_runner(compiled: Compiled, device: str) -> FeedRunner:
    """A compiled ONNX file of anybody: a mapping from input names to arrays in."""
    names = [tensor.name for tensor in compiled.outputs]
    request = compiled.model.create_infer_request()
    return FeedRunner(_spec(compiled, device), lambda feeds: _run(request, names, feeds))
