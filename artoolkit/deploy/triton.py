"""A bundle as a Triton model repository, which Isaac ROS reads too.

The layout is `<repository>/<name>/config.pbtxt` and `<repository>/<name>/1/model.plan` (or
`model.onnx`); the configuration's template lies in `export/triton`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from string import Template

from artoolkit.backends import backend_for, backend_named
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import engine_problem, engine_record
from artoolkit.evidence.folders import new_folder
from artoolkit.spec import TensorSpec
from artoolkit.targets import export_folder

CONFIG = "config.pbtxt"


def triton_config(
    bundle: Bundle, name: str, *, backend: str, gpu: bool, instances: int = 1,
    warmup: int = 3,
) -> str:  # fmt: skip
    """The text of `config.pbtxt`; `backend` is the line that names what runs the model.

    `instances`: copies of it that run at once. `warmup`: inferences before it counts as ready; the
    first loads kernels, arenas and graphs settle after it. int32 labels get a fourth dimension, as
    Isaac ROS' decoder reads them.
    """
    image, labels = bundle.manifest.target.tensors
    manifest, wide = bundle.manifest, labels.dtype == "int32"
    shape = ", ".join(map(str, labels.shape))
    parameters = {
        "artoolkit.manifest": manifest.sha256,
        "artoolkit.network": manifest.network,
        "artoolkit.precision": manifest.target.precision,
        "names": ",".join(manifest.labels.names),
    }
    template = Template((export_folder("triton") / f"{CONFIG}.in").read_text(encoding="utf-8"))
    return template.substitute(
        name=_quoted(name),
        backend=backend,
        input_name=image.name,
        input_type=_triton_type(image),
        input_dims=", ".join(map(str, image.shape)),
        output_name=labels.name,
        output_type=_triton_type(labels),
        output_dims=", ".join(map(str, (*labels.shape, 1) if wide else labels.shape)),
        output_reshape=f"\n    reshape {{ shape: [ {shape} ] }}" if wide else "",
        instances=instances,
        warmup=_warmup(image, warmup),
        kind="KIND_GPU" if gpu else "KIND_CPU",
        parameters="\n".join(
            f'parameters {{ key: "{key}" value: {{ string_value: "{_quoted(value)}" }} }}'
            for key, value in parameters.items()
        ),
    )


def _warmup(image: TensorSpec, count: int) -> str:
    dims = ", ".join(map(str, image.shape))
    value = f"{{ data_type: {_triton_type(image)} dims: [ {dims} ] random_data: true }}"
    inputs = f'inputs {{ key: "{image.name}" value: {value} }}'
    return f'model_warmup [ {{ name: "random" batch_size: 1 count: {count} {inputs} }} ]' * (
        count > 0
    )


def _triton_type(tensor: TensorSpec) -> str:
    return {"float32": "TYPE_FP32"}.get(tensor.dtype, f"TYPE_{tensor.dtype.upper()}")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def write_triton(
    bundle: Bundle, repository: Path, *, name: str | None = None, plan: Path | None = None,
    instances: int = 1, warmup: int = 3,
) -> Path:  # fmt: skip
    """Write the bundle's model into a repository, in one step, and return its folder.

    `name` defaults to the network's. With `plan`, one of the bundle's engines is served instead of
    its ONNX file; it must be whole and chained to the bundle. Raises `EngineError` where it is not,
    `StorageError` where the repository cannot be written.
    """
    if plan is not None and (problem := engine_problem(bundle, plan)):
        raise EngineError(problem, hint=f"Rebuild it: artoolkit build {bundle.path}")
    runs = backend_named(engine_record(plan).library) if plan else backend_for(bundle.model)
    if runs.triton is None:
        raise EngineError(
            f"{plan} was built by {runs.name}, which Triton does not load",
            hint=f"Build another: artoolkit build {bundle.path} --library tensorrt",
        )
    model = plan or bundle.model
    name = name or bundle.manifest.network
    gpu = plan is not None or bundle.manifest.target.device != "cpu"
    config = triton_config(
        bundle, name, backend=runs.triton, gpu=gpu, instances=instances, warmup=warmup
    )
    with new_folder(repository / name) as folder:
        (folder / "1").mkdir()
        shutil.copyfile(model, folder / "1" / f"model{model.suffix}")
        (folder / CONFIG).write_text(config, encoding="utf-8")
    return repository / name


def isaac_ros_arguments(bundle: Bundle, repository: Path, *, name: str | None = None) -> str:
    """The command that launches Isaac ROS on what `write_triton` wrote; "" where it takes none."""
    image, labels = bundle.manifest.target.tensors
    if (image.dtype, labels.dtype, image.shape[0]) != ("float32", "int32", 1):
        return ""
    return (
        f"ros2 launch artoolkit_segmenter isaac.launch.py bundle:={bundle.path.resolve()} "
        f"model_repository:={repository.resolve()} model_name:={name or bundle.manifest.network}"
    )
