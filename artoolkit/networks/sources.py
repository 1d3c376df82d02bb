"""Sources of published weights, and the hash that their publisher states. No torch.

The table is `sources.toml`: no hash of others in it was computed by us. Each stands where `stated`
says, most of them as the first 8 digits of the sha256 in the file's own name.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from artoolkit.errors import DownloadError, MissingLibraryError, UsageError
from artoolkit.optional import install_command
from artoolkit.spec import Frozen, read_toml

_CHUNK_BYTES = 1 << 20


class Source(Frozen):
    """Published weights: `artoolkit weights import` turns the file into a checkpoint.

    `access`: "direct" (can be fetched), "package" (comes with the Python package `package`),
    "browser" (only by hand) or "dead". `file` is the published file name; `hash` a whole digest or
    its first digits, of the algorithm `hash_kind`. `license` is what the publisher says of the
    file, and `warning` what its user has to know beside.
    """

    name: str
    network: str
    layout: str
    classes: int | None = None
    dataset: str
    address: str
    file: str | None = None
    access: Literal["direct", "package", "browser", "dead"] = "direct"
    package: str = ""
    hash: str | None = None
    hash_kind: Literal["sha256", "md5"] = "sha256"
    stated: str
    miou: float | None = None
    license: str | None = None
    note: str = ""
    warning: str = ""

    @model_validator(mode="after")
    def _hash_is_hexadecimal(self) -> Source:
        if self.hash is not None and (
            len(self.hash) < 8 or set(self.hash) - set("0123456789abcdef")
        ):
            raise ValueError(f"{self.name}: {self.hash!r} is no hash")
        return self

    @property
    def ours(self) -> bool:
        """True for a checkpoint that comes with artoolkit itself."""
        return self.package == __package__

    def packaged(self) -> Path:
        """The file in the installed package; `MissingLibraryError` without it. Runs no code."""
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            raise MissingLibraryError(
                f"{self.name} comes with the package {self.package}, which is not installed",
                hint=f"Install it: {install_command(self.package)}",
            )
        return Path(found.origin).parent / "models" / str(self.file)

    def verify(self, path: Path) -> None:
        """`DownloadError` unless the file has the published hash; nothing where none is stated."""
        if self.hash is None:
            return
        digest = hashlib.new(self.hash_kind, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        found = digest.hexdigest()[: len(self.hash)]
        if found != self.hash:
            raise DownloadError(
                f"{path} is not the file that was published as {self.name}",
                got=f"{self.hash_kind} {found}",
                expected=f"{self.hash} (stated at {self.stated})",
                hint="Delete it and fetch it again.",
            )


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    """Every known source, in the order of the table."""
    with resources.as_file(resources.files("artoolkit.networks") / "sources.toml") as path:
        table = read_toml(path, "table of sources")
    return tuple(Source.model_validate(entry) for entry in table["source"])


def source_named(name: str) -> Source:
    """The source `name`, or a `UsageError` that names the known ones."""
    found = next((source for source in sources() if source.name == name), None)
    if found is None:
        raise UsageError.unknown("weights", name, (source.name for source in sources()))
    return found


def source_of_file(file_name: str) -> Source | None:
    """The source whose published file has this name."""
    return next((source for source in sources() if source.file == file_name), None)


def weights_file(place: Path) -> Path:
    """`place` itself, or the file of the package that weights of this name come with.

    `MissingLibraryError` where that package is not installed.
    """
    if place.exists():
        return place
    packaged = (s for s in sources() if s.access == "package" and s.name == str(place))
    return next((source.packaged() for source in packaged), place)


def warnings_for(network: str) -> tuple[str, ...]:
    """License warnings for whoever ships published weights of `network`."""
    found = (source.warning for source in sources() if network in source.network.split(", "))
    return tuple(dict.fromkeys(filter(None, found)))
