"""Each path and command that a generated project's AGENTS.md names is there."""

import re

import click
import pytest
from running import ROOT

from kedro_vertexai_mlflow.adopt.makefile import OTHER_MAKEFILE, call_other_makefile
from vertexai_mlflow.cli import COMMANDS, vertexai

# As in the template, where paths have the placeholder for the package as well.
TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
PAGE = (TEMPLATE / "AGENTS.md").read_text()
CODE = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
PATHS = [word for word in CODE if re.fullmatch(r"[^\s()]*(/|\.(md|py|yml|lock|toml|json))", word)]
MAKE = [word.split()[1] for word in CODE if word.startswith("make ")]
KEDRO = [word.split()[2:] for word in CODE if word.startswith("kedro vertexai ")]
# Made when a project is generated, and named without its folder.
ELSEWHERE = {".cruft.json": "hooks/post_gen_project.py"}
FILES = {"vertexai.yml": "conf/base/vertexai.yml", "mlflow.yml": "conf/base/mlflow.yml"}


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path):
    if path in ELSEWHERE:
        assert f'Path("{path}")' in (ROOT / ELSEWHERE[path]).read_text()
    else:
        assert (TEMPLATE / FILES.get(path, path)).exists()


@pytest.mark.parametrize("target", MAKE)
def test_each_target_of_the_makefile_exists(target):
    assert re.search(rf"^{target}:.*## ", (TEMPLATE / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("words", KEDRO, ids=" ".join)
def test_each_command_and_option_exists(words):
    command = vertexai.get_command(click.Context(vertexai), words[0])
    assert words[0] in COMMANDS
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_the_page_names_something_of_each_kind():
    assert {"conf/cloud/globals.yml", "src/vertexai_mlflow/", "requirements.lock"} <= set(PATHS)
    assert {"check", "lock", "launch"} <= set(MAKE)
    assert ["run-local"] in KEDRO


def test_in_a_project_with_a_makefile_of_its_own_the_page_names_the_templates():
    files = {"AGENTS.md": PAGE.encode()}
    call_other_makefile(files)
    text = files["AGENTS.md"].decode()
    assert f"`make -f {OTHER_MAKEFILE} check`" in text
    assert not re.search(r"`make (?!-f)", text)
