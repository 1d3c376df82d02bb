"""A bundle's engine for DeepStream's nvinfer: its configuration, the parser of labels, a README.

Templates lie in `export/deepstream`. nvinfer feeds float planar pixels and knows int32 outputs.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from string import Template

from artoolkit.errors import EngineError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import engine_problem
from artoolkit.evidence.folders import new_folder
from artoolkit.targets import export_folder

CONFIG = "nvinfer.txt"
_COPIED = ("parse_labels.cpp", "README.md")
# nvinfer's network-mode; every other precision is float32 to it.
_MODES = {"int8": 1, "fp16": 2}


def write_deepstream(bundle: Bundle, out: Path, *, plan: Path | None) -> Path:
    """Write the folder `out` for an engine of TensorRT in the bundle, in one step, and return its
    configuration.

    Raises `UsageError` where the bundle's graph has another form than nvinfer takes, `EngineError`
    where there is no engine or it is not whole, `StorageError` where it cannot be written.
    """
    target, manifest = bundle.manifest.target, bundle.manifest
    asked = {"layout": "nchw_float32", "labels_dtype": "int32", "labels_hw": target.imgsz}
    if wrong := [name for name, value in asked.items() if getattr(target, name) != value]:
        raise UsageError(
            f"nvinfer takes another form of the graph ({', '.join(wrong)})",
            hint="Export it with --input-layout nchw_float32 --labels-dtype int32",
        )
    build = f"Build it: artoolkit build {bundle.path} --library tensorrt"
    if plan is None:
        raise EngineError(f"{bundle.path} has no engine of TensorRT", hint=build)
    if problem := engine_problem(bundle, plan):
        raise EngineError(problem, hint=build)
    folder = export_folder("deepstream")
    template = Template((folder / f"{CONFIG}.in").read_text(encoding="utf-8"))
    height, width = target.imgsz
    text = template.substitute(
        network=manifest.network,
        manifest=manifest.sha256,
        names=", ".join(" ".join(name.split()) for name in manifest.labels.names),
        engine=f"./{plan.name}",
        batch=target.batch,
        height=height,
        width=width,
        mode=_MODES.get(target.precision, 0),
        classes=manifest.num_classes,
    )
    with new_folder(out) as made:
        shutil.copyfile(plan, made / plan.name)
        for name in _COPIED:
            shutil.copyfile(folder / name, made / name)
        (made / CONFIG).write_text(text, encoding="utf-8")
    return out / CONFIG
