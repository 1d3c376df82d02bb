"""Targets by name or path, and the folder `export/`, in a checkout and in an installed wheel.

Read first: `artoolkit.spec.Target`, which says what a target declares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artoolkit.errors import UsageError
from artoolkit.spec import Target, target_from_toml

_PACKAGE = Path(__file__).resolve().parent


def installed_folder(name: str) -> Path:
    """`artoolkit/_<name>` of a wheel; `export` or `benchmarks` of a checkout."""
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def export_folder(name: str) -> Path:
    """`export/<name>`."""
    return installed_folder("export") / name


def list_targets() -> dict[str, Path]:
    """Name -> file of every target that comes with artoolkit, sorted by name."""
    return {path.stem: path for path in sorted(export_folder("targets").glob("*.toml"))}


def find_target(name_or_path: Target | str | Path, **changes: Any) -> Target:
    """The target called `name_or_path`, or read from it where it ends in .toml, or open already.

    `changes` (None: unchanged) are put over the file's values, as `precision="fp16"`. Raises
    `UsageError` for an unknown name, `RecipeError` for a file that is missing or not valid.
    """
    if isinstance(name_or_path, Target):
        given = {key: value for key, value in changes.items() if value is not None}
        return Target.model_validate(name_or_path.model_dump() | given)
    if Path(name_or_path).suffix == ".toml":
        return target_from_toml(Path(name_or_path), **changes)
    known = list_targets()
    path = known.get(str(name_or_path))
    if path is None:
        raise UsageError.unknown(
            "target", str(name_or_path), known, hint="Or give the path of a .toml file."
        )
    return target_from_toml(path, **changes)
