"""Text from outside is text: on the terminal, in errors, in markdown and on the page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from artoolkit.cli.terminal import Terminal
from artoolkit.errors import DataError
from artoolkit.report.content import PageImage
from artoolkit.report.markdown import _plain

NAMES = ("[/x]", "[red]car", "\x1b]0;title\x07\x1b[2Jcar", "a\u202eb", "\x9b31mcar")


@pytest.mark.parametrize("name", NAMES)
def test_text_in_tables_is_neither_markup_nor_steers(name: str) -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, color_system="truecolor", width=200)
    table = Table(name, title=name)
    table.add_row(name)
    table.add_row(Text(name, "red"))
    terminal.print(table)
    terminal.print(name)
    sent = file.getvalue()
    # What is left of rich's own colors is no escape sequence.
    rest = re.sub("\x1b\\[[0-9;]*m", "", sent)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", rest)
    if name.startswith("["):
        assert rest.count(name) == 5
    assert "\x1b[" in sent, "colors of our own are still sent"


@pytest.mark.parametrize("name", NAMES)
def test_an_error_shows_what_would_steer(name: str) -> None:
    assert DataError(f"class {name}").args[0].isprintable()


def test_no_console_is_opened_beside_it() -> None:
    folder = Path(__file__).parents[2] / "artoolkit" / "cli"
    opened = [f.name for f in folder.glob("*.py") if re.search(r"\bConsole\(", f.read_text())]
    assert opened == []


@pytest.mark.parametrize(
    "text", ["<script>", "![x](http://x)", "a|b", "`x`", "[x](y)", "# x", "&lt;", "*x*"]
)
def test_markdown_holds_no_html_picture_link_or_code(text: str) -> None:
    bare = re.sub(r"\\.", "", _plain(text))
    assert not re.search(r"[<>|`\[\]#&*]", bare)


@pytest.mark.parametrize(
    "uri", ["https://x/y.png", "data:text/html;base64,AA==", "data:image/svg+xml;base64,AA==", "x"]
)
def test_a_picture_from_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError):
        PageImage(uri=uri, alt="")
