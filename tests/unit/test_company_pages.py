"""The pages for companies name commands, options and inputs that exist, and their files are what other programs take."""

import re
import subprocess

import click
import pytest
import yaml
from running import BIN, ROOT, run

from vertexai_mlflow.cli import COMMANDS, vertexai
from vertexai_mlflow.settings.models import Settings

PAGES = ROOT / "docs/how-to"
TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
NAMES = ["roll-back", "other-ci", "push-and-it-runs", "private-index", "monorepo", "environments"]


@pytest.fixture(params=NAMES)
def page(request) -> str:
    return (PAGES / f"{request.param}.md").read_text()


def test_each_command_of_kedro_vertexai_and_its_options_exist(page):
    for line in re.findall(r"\bkedro vertexai (?:-e \w+ )?([a-z][^`\n#]*)", page):
        name, *words = line.split()
        assert name in COMMANDS, line
        command = vertexai.get_command(click.Context(vertexai), name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_each_target_of_make_exists(page):
    targets = set(re.findall(r"^([a-z-]+):.*## ", (TEMPLATE / "Makefile").read_text(), re.MULTILINE))
    # In consoles, scripts and code: the words after make, up to an option, a variable or a comment.
    commands = re.findall(r"(?:`|\$ |\$\(|^ +)make ((?:--silent )?[a-z][a-z -]*)", page, re.MULTILINE)
    words = {word for command in commands for word in command.split() if not word.startswith("-")}
    assert words <= targets


def test_the_settings_on_the_page_of_environments_are_taken():
    blocks = (PAGES / "environments.md").read_text().split("```yaml\n")[1:]
    texts = [block.partition("```")[0] for block in blocks]
    assert [text.splitlines()[0] for text in texts] == ["# conf/base/vertexai.yml", "# conf/prod/vertexai.yml"]
    for text in texts:
        settings = yaml.safe_load(text)
        settings["run_config"]["image"] = "demo:latest"
        Settings.model_validate(settings)


@pytest.fixture(scope="module")
def cloud_build() -> str:
    return (PAGES / "other-ci.md").read_text().partition("```yaml\n")[2].partition("```")[0]


def test_cloud_build_takes_the_file(cloud_build, tmp_path):
    (tmp_path / "cloudbuild.yaml").write_text(cloud_build)
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.cloudbuild", "cloudbuild.yaml"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "cloudbuild.yaml").write_text(cloud_build.replace("script:", "scripts:"))
    assert run(*command, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("launch", "failing", "expected"),
    [
        ("true", "", "install check doctor plans login base push launch schedule summary"),
        ("false", "", "install check doctor plans login base push"),
        ("true", "check", "install check"),
        ("true", "push", "install check doctor plans login base push"),
        ("true", "launch", "install check doctor plans login base push launch summary"),
    ],
)
def test_its_script_calls_the_commands_in_order_and_stops_at_a_failure(
    launch, failing, expected, cloud_build, tmp_path
):
    (step,) = yaml.safe_load(cloud_build)["steps"]
    variables = {"$_LAUNCH": launch, "$_ENV": "cloud", "cb-$BUILD_ID": "cb-1"}
    given = dict(item.split("=", 1) for item in step["env"])
    made = tmp_path / "made"
    for name, text in {
        "make": f'for word; do case $word in --*) ;; *) echo "$word" >> {made}; done=$word;; esac\n'
        f'[ "$word" != "{failing}" ] || exit 2; done\necho image-of-$done\n',
        "apt-get": "exit 0\n",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "script"
    script.write_text(step["script"])
    checked = run(BIN / "shellcheck", script, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", script], env={"PATH": path, **{name: variables[value] for name, value in given.items()}},
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.read_text().split() == expected.split(), done.stderr
    assert done.returncode == (1 if failing == "launch" else 2 if failing else 0)
