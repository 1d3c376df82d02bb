"""The command line: `artoolkit VERB`. One file per verb, imported only when the verb is called."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from artoolkit import __version__
from artoolkit.cli.talk import LOG, SHOWN, add_options, start_log
from artoolkit.cli.verbs import ALIASES, GROUPS, VERBS
from artoolkit.errors import ArtoolkitError, StorageError
from artoolkit.optional import require

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
        module, _, name = VERBS[verb].module.partition(":")
        found = importlib.import_module(f"artoolkit.cli.{module}")
        command: click.Command = getattr(found, name or "command")
        add_options(command)
        _show_examples(command, VERBS[verb].examples)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), verb.summary) for name, verb in verbs.items()]
                formatter.write_dl(rows)

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
            return self._invoke(ctx)
        except ArtoolkitError as error:
            click.echo(f"error: {error}", err=True)
            LOG.debug("error: %s", error, extra=SHOWN)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def _invoke(self, ctx: click.Context) -> Any:
        """The verb; `MissingLibraryError` for a library, missing or broken, that it imports.

        Rooms that are made of torch import it as they begin, and several verbs lead there.
        """
        try:
            return super().invoke(ctx)
        except ImportError as error:
            if error.name and error.name.partition(".")[0] != "artoolkit":
                require(error.name, f"artoolkit {ctx.invoked_subcommand}")
            raise

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


def _show_examples(command: click.Command, examples: Sequence[str]) -> None:
    """End the help of a verb, or of each of its subcommands, with the examples of how to call it.

    A line that is too long is broken as a shell takes it.
    """
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _show_examples(inner, [text for text in examples if text.split()[1] == name])
        return
    lines = [
        textwrap.fill(f"artoolkit {text}", 72, initial_indent="  ", subsequent_indent="      ",
                      break_long_words=False, break_on_hyphens=False).replace("\n", " \\\n")
        for text in examples
    ]  # fmt: skip
    command.epilog = "\b\n" + "\n".join([f"Example{'s' * (len(lines) > 1)}:", *lines])


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
@click.pass_context
def main(ctx: click.Context) -> None:
    """More accurate segmentation at exactly the same cost, with the evidence."""
    start_log(ctx)


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
