"""Options that have another name since 0.2: the old one works, with a warning, and is not shown any more."""

from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from vertexai_mlflow.cli import vertexai
from vertexai_mlflow.commands import options


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "a,b"], {"rerun": ["a", "b"], "upload_code": False}),
        (["--rerun", "a,b"], {"rerun": ["a", "b"], "upload_code": False}),
        (["--code", "upload"], {"rerun": [], "upload_code": True}),
        (["--code", "image"], {"rerun": [], "upload_code": False}),
        (["--upload-code"], {"rerun": [], "upload_code": True}),
        ([], {"rerun": [], "upload_code": False}),
    ],
)
def test_the_old_spelling_means_the_new_one_and_warns(arguments, expected):
    values = {}

    @click.command()
    @options.rerun
    @options.upload_code
    def command(**received):
        values.update(received)

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert values == expected
    new = {"--from": "--rerun", "--code": "--upload-code"}.get((arguments or [""])[0])
    assert done.output == (f"Warning: {arguments[0]} is called {new} now.\n" if new else "")


@pytest.mark.parametrize("command", ["run-once", "resume", "run-local"])
def test_the_old_spelling_is_not_shown(command, tmp_path):
    project = SimpleNamespace(project_path=tmp_path, source_dir=tmp_path / "src")
    shown = CliRunner().invoke(vertexai, [command, "--help"], obj=project).output
    assert "--upload-code" in shown
    assert "--code " not in shown
    assert "--from " not in shown
