"""Running engines of `tensorrt` and `tensorrt_rtx`: one runner for both.

It has a stream of its own, page-locked host buffers, and the network's execution as a CUDA graph
where asked for. Nothing is deserialised before `sidecar.py` has found that the plan
fits this machine and this bundle. A caller with a clock can take the steps one by one: `upload`,
`enqueue`, `download`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.runner import Batch, Feeds, OpenRunner, Outputs, checked_feeds
from artoolkit.backends.tensorrt.cuda import Bytes, Launch, open_cuda
from artoolkit.backends.tensorrt.library import (
    library_name,
    machine,
    not_made_for,
    open_library,
)
from artoolkit.backends.tensorrt.loaded import LoadedEngine
from artoolkit.backends.tensorrt.sidecar import (
    Machine,
    check_plan,
    plans,
    read_sidecar,
    rebuild_hint,
)
from artoolkit.errors import BackendError, EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.spec import RunnerSpec, TensorSpec
from artoolkit.words import CudaMemory, LibraryName

_PURPOSE = "running an engine"
# trtexec's names for the copy in, the execution and the copy out.
STAGES = ("h2dMs", "computeMs", "d2hMs")


@dataclass(frozen=True)
class _Buffer:
    """One input or output: where it lies on the device and on the host."""

    tensor: TensorSpec
    pointer: int
    host: Bytes

    @property
    def array(self) -> NDArray[Any]:
        """The host buffer as the tensor."""
        return self.host.view(self.tensor.dtype).reshape(self.tensor.shape)


class TensorrtRunner(OpenRunner):
    """An open engine; see `open_tensorrt`."""

    def __init__(self, spec: RunnerSpec, loaded: LoadedEngine, *, cuda_graph: bool) -> None:
        super().__init__(spec)
        self.cuda = loaded.cuda
        self.stream = loaded.cuda.stream()
        self._loaded = loaded
        self._launch: Launch | None = None
        self._marks: tuple[int, ...] = ()
        self.stages_ms: dict[str, float] = {}
        self._buffers: dict[str, _Buffer] = {}
        try:
            for tensor in (*spec.inputs, *spec.outputs):
                self._buffers[tensor.name] = self._allocate(tensor)
            if cuda_graph:
                self._launch = self._captured()
        except BackendError:
            self.close()
            raise

    def _captured(self) -> Launch:
        # The first run may still load kernels lazily, which no graph can hold.
        self._execute()
        self.cuda.synchronize(self.stream)
        launch = self.cuda.capture(self.stream, self._execute)
        if launch is None:
            raise BackendError(
                f"{self.cuda.provider} has no CUDA graphs",
                hint="Use --cuda-memory cuda-bindings, or no CUDA graph.",
            )
        return launch

    def _allocate(self, tensor: TensorSpec) -> _Buffer:
        size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        buffer = _Buffer(tensor, self.cuda.alloc(size), self.cuda.pinned(size))
        self._loaded.context.set_tensor_address(tensor.name, buffer.pointer)
        return buffer

    def upload(self, batch: Batch) -> None:
        """Enqueue the copies of the inputs to the device."""
        for name, array in checked_feeds(self.spec, batch).items():
            buffer = self._buffers[name]
            buffer.array[...] = array
            self.cuda.upload(buffer.pointer, buffer.host, self.stream)

    def enqueue(self) -> None:
        """Enqueue one inference on what lies on the device."""
        if self._launch is not None:
            self._launch()
        else:
            self._execute()

    def _execute(self) -> None:
        context = self._loaded.context
        if not context.execute_async_v3(self.stream):
            raise BackendError(f"the engine failed to run: {self._loaded.reason()}")

    def download(self) -> Outputs:
        """Enqueue the copies of the outputs, wait for the stream, and return them."""
        self._copy_back()
        return self._outputs()

    def _copy_back(self) -> None:
        for tensor in self.spec.outputs:
            buffer = self._buffers[tensor.name]
            self.cuda.download(buffer.host, buffer.pointer, self.stream)

    def _outputs(self) -> Outputs:
        self.cuda.synchronize(self.stream)
        return {t.name: self._buffers[t.name].array.copy() for t in self.spec.outputs}

    def keep_stages(self) -> None:
        """From now on keep the GPU's time of each inference by trtexec's keys, in `stages_ms`."""
        self._marks = self._marks or tuple(self.cuda.event() for _ in range(4))

    def refitted(self, onnx: bytes) -> bytes:
        """The engine with the weights of another ONNX file of the same program, as a plan.

        This runner computes with them from now on. Raises `EngineError` where it takes them not.
        """
        self.cuda.synchronize(self.stream)  # no work may be pending
        if problem := self._loaded.refit(onnx):
            raise EngineError(
                f"the engine {self._loaded.plan} does not take these weights: {problem}",
                hint="Build it anew: artoolkit build BUNDLE --refittable",
            )
        return self._loaded.serialised_tensorrt()

    def _infer(self, feeds: Feeds) -> Outputs:
        steps = (lambda: self.upload(feeds), self.enqueue, self._copy_back)
        self._mark(0)
        for index, step in enumerate(steps, 1):
            step()
            self._mark(index)
        outputs = self._outputs()
        self.stages_ms = {
            key: self.cuda.elapsed_ms(begin, end)
            for key, begin, end in zip(STAGES, self._marks, self._marks[1:], strict=False)
        }
        return outputs

    def _mark(self, index: int) -> None:
        if self._marks:
            self.cuda.record(self._marks[index], self.stream)

    def layer_times(self, batch: Batch, runs: int) -> dict[str, list[float]]:
        """Milliseconds of every layer in each of `runs` inferences, as the library tells them.

        Layers are waited for one by one, so their sum is more than an inference takes.
        """
        self.upload(batch)
        return self._loaded.layer_times(self.stream, runs)

    def _release(self) -> None:
        self.cuda.synchronize(self.stream)
        for event in self._marks:
            self.cuda.free_event(event)
        for buffer in self._buffers.values():
            self.cuda.free(buffer.pointer)
            self.cuda.free_pinned(buffer.host)
        self._buffers.clear()
        self._launch = None
        self._loaded.release()
        self.cuda.free_stream(self.stream)
        self.cuda.close()


def open_plan(
    plan: Path,
    *,
    library: LibraryName,
    device: str = "cuda:0",
    cuda_memory: CudaMemory = "cuda-bindings",
    cuda_graph: bool = False,
    manifest: str | None = None,
    bundle: Path | None = None,
) -> TensorrtRunner:
    """Open one plan. `manifest`: sha256 of the bundle's manifest that it must be chained to.

    Raises `EngineError` where the plan is not this machine's or not the bundle's, `BackendError`
    without a driver, GPU or memory, `MissingLibraryError` without a library.
    """
    opened = open_library(library, _PURPOSE)
    cuda = open_cuda(device, cuda_memory)
    here = Machine(
        library=library,
        library_version=opened.version,
        machine=machine(),
        compute_capability=cuda.gpu.compute_capability,
        gpu=cuda.gpu.identity,
    )
    try:
        sidecar = check_plan(plan, here, manifest=manifest, bundle=bundle)
        loaded = LoadedEngine(opened, cuda, plan, sidecar)
        inputs, outputs = loaded.tensors()
    except BackendError:
        cuda.close()
        raise
    spec = RunnerSpec(
        backend=library,
        device=device,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        settings=loaded.settings(cuda_graph=cuda_graph),
    )
    return TensorrtRunner(spec, loaded, cuda_graph=cuda_graph)


def open_tensorrt(
    bundle: Bundle,
    *,
    engine: Path | None = None,
    library: LibraryName | None = None,
    device: str = "cuda:0",
    cuda_memory: CudaMemory | None = None,
    cuda_graph: bool = False,
) -> TensorrtRunner:
    """Open the engine of `bundle` that fits this machine; the errors are those of `open_plan`.

    `library` and `cuda_memory` default to the target's. Where several engines fit, the first by
    name is taken, unless `engine` says which.
    """
    library = library or library_name(bundle.manifest.target)
    # Before any plan: without the library, no command that builds one would help.
    open_library(library, _PURPOSE)
    refusals: list[EngineError] = []
    for plan in plans(bundle) if engine is None else (engine,):
        if library_of(plan) not in (library, None):
            continue
        opened = _opened_or_refused(
            plan,
            library=library,
            device=device,
            cuda_memory=cuda_memory or bundle.manifest.target.cuda_memory,
            cuda_graph=cuda_graph,
            manifest=bundle.manifest.sha256,
            bundle=bundle.path,
        )
        if isinstance(opened, TensorrtRunner):
            return opened
        refusals.append(opened)
    if refusals:
        raise refusals[0]
    target = bundle.manifest.target
    if target.backend != library and getattr(target, library.replace("-", "_")) is None:
        raise not_made_for(library, target)
    raise EngineError(
        f"{bundle.path} has no engine for {library}", hint=rebuild_hint(library, bundle.path)
    )


def library_of(plan: Path) -> LibraryName | None:
    """Library that built the engine; None where its sidecar does not tell; opening says why."""
    try:
        return read_sidecar(plan).library
    except EngineError:
        return None


def _opened_or_refused(plan: Path, **how: Any) -> TensorrtRunner | EngineError:
    try:
        return open_plan(plan, **how)
    except EngineError as error:
        return error
