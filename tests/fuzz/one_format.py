"""One format: a whole file, how it is damaged, and the command that is given the damaged copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mutations import STRUCTURES, damaged

from artoolkit.cli import main
from artoolkit.evidence.seal import canonical, seal
from artoolkit.networks.checkpoint import state_sha256


@dataclass(frozen=True)
class Format:
    """A file at `path`, how it is damaged, and what reads it.

    `use` returns an exit code, or raises what a command turns into one. `sealed`: a hash covers
    the file, so that no damaged copy may be accepted with exit code 0. `reseal` puts the hashes in
    a damaged copy right, as a forger does, so that what is behind is read; `mend` those beside it.
    """

    name: str
    path: Path
    kind: str
    use: Callable[[], int | None]
    sealed: bool = False
    mend: Callable[[], None] | None = None
    reseal: Callable[[bytes], bytes] | None = None
    group: str = ""

    def damage(self, random: Random, content: bytes) -> bytes:
        if self.reseal is None:
            return damaged(random, content, self.kind)
        while (new := self.reseal(STRUCTURES[self.kind](random, content))) == content:
            pass
        return new


def resealed_json(content: bytes) -> bytes:
    """Sealed as artoolkit does, with the right hash, where the values can be sealed."""
    try:
        return canonical(seal(json.loads(content)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content


def resealed_state(content: bytes) -> bytes:
    with_room = content[:-2] + b"\x40\0"
    return with_room + hashlib.sha256(content[:-2]).hexdigest().encode()


def resealed_checkpoint(content: bytes) -> bytes:
    import safetensors.torch

    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        meta = json.loads(header["__metadata__"]["artoolkit"])
        meta["tensors_sha256"] = state_sha256(safetensors.torch.load(content))
        header["__metadata__"]["artoolkit"] = json.dumps(seal(meta))
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + size :]
    except (ValueError, TypeError, KeyError, RecursionError, safetensors.SafetensorError):
        return content


def command(*arguments: object) -> Callable[[], int]:
    """The exit code of a command line, as a shell sees it."""

    def use() -> int:
        try:
            main.main(args=[str(argument) for argument in arguments])
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return use
