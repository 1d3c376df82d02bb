"""How much a command says: `-q`, `-v` and `--log-file`, which every verb has; and `--json`.

Results go to standard output, everything else to standard error through the log of `artoolkit`:
`-q` leaves warnings and errors, `-v` adds details, and the file gets all of it with the time.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from artoolkit.errors import StorageError, visible

LOG = logging.getLogger("artoolkit")
# Of a record that was printed already, and is for the file alone.
SHOWN = {"shown": True}

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON alone."
)


def tell(result: Mapping[str, Any], *lines: str, as_json: bool) -> None:
    """Print what a verb has made: `lines` for a person, or `result` as JSON."""
    for line in [json.dumps(result, indent=2, default=str)] if as_json else lines:
        click.echo(line)


class _Echo(logging.Handler):
    """Log handler to standard error; one process speaks where torchrun started several."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0" and not hasattr(record, "shown"):
            click.echo(visible(record.getMessage()), err=True)


ECHO = _Echo(logging.INFO)


def is_quiet() -> bool:
    """True where only warnings and errors are wanted."""
    return ECHO.level > logging.INFO


def start_log(ctx: click.Context) -> None:
    """Show the log on standard error; what `ctx`'s command changes ends with it."""
    before = ECHO.level, list(LOG.handlers)
    LOG.setLevel(logging.DEBUG)
    if ECHO not in LOG.handlers:
        LOG.addHandler(ECHO)

    def restore() -> None:
        ECHO.setLevel(before[0])
        for handler in set(LOG.handlers).difference((*before[1], ECHO)):
            LOG.removeHandler(handler)
            handler.close()

    ctx.call_on_close(restore)


def level(least: int) -> Callable[[click.Context, click.Parameter, bool], bool]:
    """Callback of a flag that shows the log from this level on."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
        if value:
            ECHO.setLevel(least)
        return value

    return callback


def _log_file(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)


def add_options(command: click.Command) -> None:
    """Give a verb `-q`, `-v` and `--log-file`, once; a group gives them to its subcommands."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_options(inner)
        return
    known = {name for parameter in command.params for name in (parameter.name, *parameter.opts)}
    if "log_file" in known:
        return
    if "-v" not in known:
        command.params.append(
            click.Option(["-v", "--verbose"], is_flag=True, expose_value=False,
                         callback=level(logging.DEBUG), help="More details in the log.")
        )  # fmt: skip
    command.params += [
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False,
                     callback=level(logging.WARNING), help="No progress, only warnings."),
        click.Option(["--log-file"], type=click.Path(path_type=Path, dir_okay=False),
                     expose_value=False, callback=_log_file,
                     help="Write the log here too, with times."),
    ]  # fmt: skip
