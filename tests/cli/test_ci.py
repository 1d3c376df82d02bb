"""`artoolkit ci`: the workflow names real commands, and says which bundle and data."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from artoolkit.cli import ci, main


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_a_workflow_is_filled_and_its_commands_exist(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci, "__version__", "0.1.dev1+g0")
    options = ["--bundle", "my bundle", "--dataset", "camvid", "--data-root", "/data/camvid"]
    answer = CliRunner().invoke(main, ["ci", service, *options])
    assert answer.exit_code == 0, answer.output
    text = answer.output
    assert not re.search(r"@[A-Z]+@", text)
    assert '"artoolkit[cpu]"' in text, "a version between releases cannot be installed"
    calls = [found.split(" ||")[0] for found in re.findall(r"artoolkit (?!ci )[a-z]+ '.*", text)]
    assert {shlex.split(call)[1] for call in calls} == {"verify", "compare", "report"}
    for call in calls:
        _, verb, bundle, *rest = shlex.split(call)
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert bundle == "my bundle"
        assert {word for word in rest if word.startswith("--")} <= known
    assert "--dataset camvid --data-root /data/camvid" in text


def test_a_release_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci, "__version__", "1.2.3")
    assert '"artoolkit[cpu]==1.2.3"' in CliRunner().invoke(main, ["ci", "github"]).output
