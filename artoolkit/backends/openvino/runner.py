"""Runner of a compiled model."""

from __future__ import annotations

from typing import Any

import numpy as np

from artoolkit.backends.openvino.loader import Compiled, failing
from artoolkit.backends.runner import Feeds, OpenRunner, Outputs
from artoolkit.spec import RunnerSpec


class OpenVinoRunner(OpenRunner):
    """A compiled model and its one request."""

    def __init__(self, compiled: Compiled, device: str) -> None:
        spec = RunnerSpec(
            backend="openvino",
            device=device,
            inputs=compiled.inputs,
            outputs=compiled.outputs,
            settings=compiled.settings,
        )
        super().__init__(spec)
        self._compiled: Compiled | None = compiled
        self._request: Any = compiled.model.create_infer_request()
        self._names = [tensor.name for tensor in compiled.outputs]

    def _infer(self, feeds: Feeds) -> Outputs:
        with failing("OpenVINO could not run the graph"):
            self._request.infer(dict(feeds), share_inputs=True)
            # Copies, since the request writes to its own tensors again.
            return {name: np.array(self._request.get_tensor(name).data) for name in self._names}

    def _release(self) -> None:
        self._request = self._compiled = None
