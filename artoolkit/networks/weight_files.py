"""Files of weights -> state dicts: the only place that opens safetensors and torch files.

No code of a file is ever run. Whatever else was given in the place of weights (a web page, a
Git-LFS pointer, a TorchScript archive) is named as what it is, and weights that are not finite are
refused by the name of their tensor: everything computed with them would be wrong, and equal.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artoolkit.errors import ArtoolkitError, CheckpointError, UsageError
from artoolkit.files import reading
from artoolkit.networks.caffemodel import read_caffemodel
from artoolkit.networks.layouts import State
from artoolkit.optional import require

# Where public code keeps the weights inside a file, the plain ones and their moving average.
AVERAGE = re.compile(r"(^|_)(ema|swa)(_|$)")
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "segmenter",
            "net", "network", "params", "weights")  # fmt: skip
PREFIXES = ("module.", "_orig_mod.")
SUGGESTION = ("torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW), or "
              ".state_dict() for the key where it holds the module itself")  # fmt: skip

# What a file starts with that is no file of weights, and what to do about it.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the file it stands for",
     "Fetch it: git lfs pull."),
    (b"<", "a web page or XML, not weights",
     "Open its address in a browser: the server asks for something first, or the file has gone."),
    (b"{", "JSON text, not weights", "Give the file of weights beside it."),
    (b"\x89HDF", "an HDF5 file, as Keras writes it", "Only weights of PyTorch and Caffe are read."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it first."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first."),
    (b"\x93NUMPY", "a NumPy array", "Only weights of PyTorch and Caffe are read."),
    (b"%PDF", "a PDF", "Check the path."),
)  # fmt: skip


class _HistoryBuffer:
    """Takes the place of mmengine's log buffer, which its checkpoints hold beside the weights."""


def _safe_globals() -> list[Any]:
    """The types beside tensors that may stand in a file: NumPy's scalars and arrays, and that."""
    # How NumPy writes both; the module is another one in files of version 2 than of version 1.
    rebuild = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64().__reduce__()[0]}
    named = [
        (function, f"{module}.{name}")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, function in rebuild.items()
    ]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSU"}
    history = (_HistoryBuffer, "mmengine.logging.history_buffer.HistoryBuffer")
    return [*named, np.ndarray, np.dtype, *kinds, history]


@dataclass(frozen=True)
class Published:
    """The weights in a file, and what it says about its classes.

    `keys` gives the file's own key of each; `taken` says which set of weights this is where the
    file holds several; `beside` names tensors outside the module that all others are in.
    """

    state: State
    classes: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    taken: str = ""
    beside: tuple[str, ...] = ()

    def bared(self) -> Iterator[Published]:
        """Itself, and itself without each of the prefixes that nearly all keys share.

        Lightning's "model." is one, and so may be a part of the network's own names: which it is,
        only a comparison with the network can say.
        """
        found = self
        while True:
            yield found
            heads = [key.partition(".")[0] + "." for key in found.state]
            head = max(set(heads), key=heads.count)
            inside = [key for key in found.state if key.startswith(head)]
            if not inside or len(inside) < 0.8 * len(heads) or any(k == head[:-1] for k in inside):
                return
            found = replace(
                found,
                state={key.removeprefix(head): found.state[key] for key in inside},
                keys={key.removeprefix(head): found.keys.get(key, key) for key in inside},
                beside=(*found.beside, *(found.keys.get(k, k) for k in found.state
                                         if not k.startswith(head))),
            )  # fmt: skip


def read_published(path: Path, *, take: str | None = None) -> Published:
    """Weights from safetensors, a weights-only torch file or a `.caffemodel`, on the CPU.

    `take`: the key of the set of weights where the file holds several; by default the moving
    average. Raises `CheckpointError` for anything else, for a file whose reading would run code,
    and for weights that are not finite; `UsageError` for a key that the file does not have.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}", hint="Check the path.")
    if path.suffix == ".caffemodel":
        content: object = read_caffemodel(path)
    elif is_pickle(path):
        content = read_torch(path, CheckpointError)
    else:
        content = read_safetensors(path)[1]
    found = unwrapped(content, take=take, source=f"{path}")
    require_finite(found.state, path, found.keys)
    classes, palette = _labels(content)
    return replace(found, classes=classes, palette=palette)


def read_safetensors(path: Path) -> tuple[dict[str, str], State]:
    """Header and tensors of a safetensors file; `CheckpointError` for anything else."""
    safetensors = require("safetensors", "reading and writing checkpoints")
    if not path.is_file():
        run, is_bundle = path / "model.safetensors", (path / "manifest.json").is_file()
        hint = "It is a bundle: give the checkpoint that was exported." if is_bundle else ""
        hint = hint or (f"Give {run}." if run.is_file() else "Check the path.")
        raise CheckpointError(f"no checkpoint at {path}", hint=hint)
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            return metadata, {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise_as_what_it_is(path)
        if is_pickle(path):
            raise CheckpointError(
                f"{path} is a pickle, which can run code when it is read",
                expected="a safetensors file",
                hint="Weights of others are read, as weights alone, where --network says whose "
                "they are; `artoolkit weights import` makes a checkpoint of them.",
            ) from error
        raise CheckpointError(
            f"{path} is not a safetensors file, or it is cut off: {error}",
            got=f"{path.stat().st_size:,} bytes; the header claims {_claimed(path)}",
        ) from error


def _claimed(path: Path) -> str:
    """Bytes that the first eight of a safetensors file give its header."""
    with path.open("rb") as file:
        return f"{int.from_bytes(file.read(8), 'little'):,}"


def safetensors_header(path: Path) -> dict[str, str] | None:
    """The metadata of a safetensors file; None for any other file."""
    safetensors = require("safetensors", "reading and writing checkpoints")
    if not path.is_file():  # opening a pipe would wait for a writer
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return None


def read_torch(path: Path, error: type[ArtoolkitError], *, hint: str = "") -> Any:
    """Content of a torch.save file, on the CPU, no code run; `error` with `hint` otherwise."""
    with reading(path, error, what="torch file", hint=hint or "Is the download complete?"):
        raise_as_what_it_is(path, error, hint=hint)
        try:
            # By its path torch would judge the file by its ending.
            with torch.serialization.safe_globals(_safe_globals()), path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as problem:
            named = re.search(r"GLOBAL (\S+)", str(problem))
            raise error(
                f"{path} holds more than weights, and reading that would run its code",
                got=named[1] if named else None,
                expected="safetensors, or a torch file that weights_only=True reads",
                hint=f"Where you trust it: {SUGGESTION}.",
            ) from problem


def is_pickle(path: Path) -> bool:
    """True if the file starts as torch's zip archives and bare pickles do."""
    with path.open("rb") as opened:
        start = opened.read(9)
    if start[8:] == b"{":  # a safetensors header, whose length may look like the start of a pickle
        return False
    return start[:4] == b"PK\x03\x04" or (len(start) > 1 and start[0] == 0x80 and start[1] <= 5)


def raise_as_what_it_is(
    path: Path, raised: type[ArtoolkitError] = CheckpointError, *, hint: str = ""
) -> None:
    """`raised` where the file is something known that is no file of weights."""
    with path.open("rb") as opened:
        start = opened.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start and not path.stat().st_size:
        raise raised(f"{path} is empty", hint=hint or "Fetch it again.")
    for magic, what, way_out in _OTHERS:
        if start.startswith(magic):
            raise raised(f"{path} is {what}", hint=hint or way_out)
    if path.suffix == ".onnx":
        raise raised(
            f"{path} is an ONNX graph, not a checkpoint",
            hint="Files alone: artoolkit compare A.onnx B.onnx, artoolkit benchmark FILE.onnx",
        )
    if start[:2] == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any("/code/" in name for name in names):
            raise raised(
                f"{path} is a TorchScript archive: a program with its weights",
                hint="Keep the weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW).",
            )
        if names and all(name.endswith(".npy") for name in names):
            raise raised(f"{path} is an archive of NumPy arrays (.npz)",
                         hint="Only weights of PyTorch and Caffe are read.")  # fmt: skip
        if not any(name.endswith("data.pkl") for name in names):
            raise raised(
                f"{path} is a zip archive without torch's weights",
                got=", ".join(names[:3]),
                hint="Unpack it first, where the weights lie inside.",
            )


def require_finite(
    state: Mapping[str, Tensor], source: Path, names: Mapping[str, str] | None = None
) -> None:
    """`CheckpointError` that names the tensors with NaN or infinite values, or no plain numbers."""
    bad = []
    for key, tensor in state.items():
        name = (names or {}).get(key, key)
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise CheckpointError(
                f"{name} in {source} is no plain tensor",
                got="meta" if tensor.is_meta else f"{tensor.layout} of {tensor.dtype}",
                expected="numbers one after the other, not quantized",
            )
        # 8-bit floats know no arithmetic.
        numbers = tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor
        if not numbers.isfinite().all():
            wrong = int((~numbers.isfinite()).sum())
            bad.append(f"{wrong} of {tensor.numel()} values of {name} NaN or infinite")
        elif key.endswith("running_var") and (numbers < 0).any():  # its root will be NaN
            bad.append(f"variances below 0 in {name}")
    if bad:
        more = f", and in {len(bad) - 1} more tensors" if len(bad) > 1 else ""
        raise CheckpointError(
            f"the weights in {source} are not finite",
            got=f"{bad[0]}{more}",
            hint="The training that wrote them failed: take an earlier checkpoint.",
        )


def unwrap(content: object) -> State:
    """The state dict inside what a file held: wrappers and parallel prefixes taken off.

    Batch counters that old files lack are added (they do not change any output).
    """
    return unwrapped(content).state


def unwrapped(content: object, *, take: str | None = None, source: str = "the file") -> Published:
    """As `unwrap`, with the keys of the file and which set of weights was taken."""
    wrappers = (*WRAPPERS, take) if take is not None else WRAPPERS
    sets = dict(_sets(content, (), wrappers))
    if not sets:
        held = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else ""
        raise CheckpointError(
            f"no weights found in {source}",
            got=f"{type(content).__name__} {held and 'of '}{held}".strip(),
            expected=f"a state dict, or one under {', '.join(WRAPPERS)}",
            hint="Name its key with --take." if held else None,
        )
    names = {".".join(path): path for path in sets}
    averages = [path for path in sets if any(map(AVERAGE.search, path))]
    chosen = averages[0] if averages else next(iter(sets))
    if take is not None:
        asked = [path for name, path in names.items() if take in (name, name.split(".")[0])]
        if not asked:
            raise UsageError(
                f"{source} has no weights under {take!r}", expected=" or ".join(names) or "none"
            )
        chosen = asked[0]
    state = sets[chosen]
    plain = next((other for path, other in sets.items() if path not in averages), {})
    if set(state) < set(plain):  # the average of the parameters alone: buffers are the plain ones
        state = {**plain, **state}
    taken = ""
    if len(sets) > 1:
        others = [name for name, path in names.items() if path != chosen]
        taken = f"{'.'.join(chosen) or 'the outermost'}, beside {', '.join(others)}"
    keys = {key: key for key in state}
    for prefix in PREFIXES * 2:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
            keys = {key.removeprefix(prefix): value for key, value in keys.items()}
    for key in [key for key in state if key.endswith("running_mean")]:
        counter = key.replace("running_mean", "num_batches_tracked")
        state.setdefault(counter, torch.zeros((), dtype=torch.int64))
    return Published(state, keys=keys, taken=taken)


def _sets(
    content: object, path: tuple[str, ...], wrappers: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], State]]:
    """Every state dict in what a file held, by the keys that lead to it; the outermost first."""
    if not isinstance(content, Mapping):
        return
    averages = (key for key in content if isinstance(key, str) and AVERAGE.search(key))
    inner = [key for key in dict.fromkeys((*wrappers, *averages))
             if isinstance(content.get(key), Mapping)]  # fmt: skip
    for key in inner:
        yield from _sets(content[key], (*path, key), wrappers)
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if state and not inner and all(isinstance(key, str) for key in state):
        yield path, state


def _labels(
    content: object,
) -> tuple[tuple[str, ...] | None, tuple[tuple[int, int, int], ...] | None]:
    """Class names and colors where mmsegmentation keeps them in its files."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return None, None
    nested = meta.get("dataset_meta")
    source = nested if isinstance(nested, Mapping) else meta
    classes = source.get("CLASSES") or source.get("classes")
    palette = source.get("PALETTE") or source.get("palette") or ()
    names = tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else None
    try:
        colors = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    except (TypeError, ValueError):
        return names, None
    return names, colors if names and len(colors) == len(names) else None
