"""Any ONNX file on ONNX Runtime: several inputs of any type, fed by name, all outputs returned.

For comparing networks that artoolkit never made; bundles go through `open_onnxruntime`.
"""

from __future__ import annotations

from pathlib import Path

from artoolkit.backends.onnxruntime.session import one_line, open_session, tensor_spec
from artoolkit.backends.runner import FeedRunner, Feeds, Outputs
from artoolkit.spec import RunnerSpec


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
    names = [tensor.name for tensor in spec.outputs]

    def run(feeds: Feeds) -> Outputs:
        with one_line("ONNX Runtime could not run the graph"):
            values = opened.session.run(names, dict(feeds))
        return dict(zip(names, values, strict=True))

    return FeedRunner(spec, run)
