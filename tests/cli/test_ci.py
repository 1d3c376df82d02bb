"""`artoolkit ci`: the workflow names real commands, and says which bundle and data."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from artoolkit import __version__
from artoolkit.cli import main


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_a_workflow_is_filled_and_its_commands_exist(service: str) -> None:
    options = ["--bundle", "my bundle", "--dataset", "camvid", "--data-root", "/data/camvid"]
    answer = CliRunner().invoke(main, ["ci", service, *options])
    assert answer.exit_code == 0, answer.output
    text = answer.output
    assert not re.search(r"@[A-Z]+@", text)
    assert f"artoolkit[cpu]=={__version__}" in text
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
