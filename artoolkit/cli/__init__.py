"""The command line: `artoolkit VERB`. One file per verb, imported only when the verb is called."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from artoolkit import __version__
from artoolkit.errors import ArtoolkitError, StorageError, visible

# verb -> (module under artoolkit.cli, what it does in one line)
VERBS = {
    "quickstart": ("quickstart", "End-to-end demo on synthetic data (minutes on a CPU)."),
    "doctor": ("doctor", "Show what works on this machine and what is missing."),
    "data": ("data", "Generate, prepare and check data sets."),
    "weights": ("weights", "List, fetch and import published checkpoints."),
    "train": ("train", "Train a network from a recipe."),
    "finetune": ("finetune", "Fine-tune a baseline with the affinity-regression loss."),
    "experiment": ("experiment", "Test whether the loss helps: all arms and seeds."),
    "evaluate": ("evaluate", "Measure mIoU of a checkpoint, bundle or engine."),
    "export": ("export", "Export a bundle, with the verdict against a baseline."),
    "build": ("build", "Build the TensorRT engine of a bundle."),
    "benchmark": ("benchmark", "Measure latency and memory on this machine."),
    "compare": ("compare", "Give the verdict on a candidate against its baseline."),
    "verify": ("verify", "Verify hashes, answer the checks again, replay golden images."),
    "log": ("log", "List the verdicts in a bundle: when, where, which answers."),
    "delta": ("delta", "Write the trained weights alone that make one bundle of another."),
    "refit": ("refit", "Make a bundle, and its engine, from another and a delta."),
    "sign": ("sign", "Sign a bundle and its evidence with a key."),
    "predict": ("predict", "Write label maps and overlays of images or a video."),
    "report": ("report", "Write one HTML page about runs and bundles."),
}
ALIASES = {"val": "evaluate", "checks": "doctor"}
# As sysexits.h has it for a fault of the program, and as a shell counts a closed pipe (128 + 13).
CRASH, CLOSED_PIPE = 70, 141


class LazyVerbs(click.Group):
    """Imports a verb's module when it is called, so that --help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = ALIASES.get(cmd_name, cmd_name)
        if verb not in VERBS:
            return None
        module = importlib.import_module(f"artoolkit.cli.{VERBS[verb][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in (*VERBS, *ALIASES) and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], (*VERBS, *ALIASES), 1)
            ctx.fail(
                f"No such command {args[0]!r}." + (f" Did you mean {near[0]}?" if near else "")
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArtoolkitError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Ends every command with an exit code of the README's list; 1 is a check that failed.

        Python would give a crash the code 1 as well, and click a pipe that its reader closed.
        """
        inner: Any = super().main
        if not extra.pop("standalone_mode", True):
            return inner(*args, standalone_mode=False, **extra)
        out = sys.stdout
        try:
            try:
                code = inner(*args, standalone_mode=False, **extra)
            except SystemExit as stop:
                # So rich ends, and click after it put another stdout in place; both with code 1.
                if isinstance(stop.__context__, BrokenPipeError) or sys.stdout is not out:
                    raise BrokenPipeError from None
                code = stop.code
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            code = 130
        except BrokenPipeError:
            _forget_stdout()
            code = CLOSED_PIPE
        except Exception as error:
            code = _crash(error)
        sys.exit(code if isinstance(code, int) else 0)


class _Echo(logging.Handler):
    """Log handler to standard error; one process speaks where torchrun started several."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            click.echo(visible(record.getMessage()), err=True)


def _show_log() -> None:
    library = logging.getLogger("artoolkit")
    library.setLevel(logging.INFO)
    if not any(isinstance(handler, _Echo) for handler in library.handlers):
        library.addHandler(_Echo())


def _forget_stdout() -> None:
    """Nobody reads it any more: what Python still holds for it at exit goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _crash(error: Exception) -> int:
    """Say in one line what nobody foresaw; the traceback goes to a file. Returns the exit code."""
    import tempfile
    import traceback

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        _forget_stdout()
        where = error.filename or "the output"
        click.echo(f"error: cannot write {where}: {error.strerror}", err=True)
        return StorageError.exit_code
    what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    line = f"error: a fault of artoolkit's own ({what})"
    with contextlib.suppress(OSError):
        handle, log = tempfile.mkstemp(prefix="artoolkit-crash-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"artoolkit {__version__}: {' '.join(sys.argv)}\n\n")
            traceback.print_exception(error, file=file)
        line += f". Please report it with {log}"
    click.echo(line, err=True)
    return CRASH


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="artoolkit")
def main() -> None:
    """More accurate segmentation at exactly the same cost, with the evidence."""
    _show_log()


def run(arguments: Sequence[str]) -> int:
    """The exit code of `artoolkit ARGUMENTS`, run in this process; for quickstart and tests.

    Records say which command made them, so that the arguments stand in `sys.argv` meanwhile.
    """
    before, sys.argv = sys.argv, ["artoolkit", *arguments]
    try:
        code = main.main(args=list(arguments), standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    return code if isinstance(code, int) else 0
