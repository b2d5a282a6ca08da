"""The reference pages explain every command, option and key, and none that does not exist."""

import re
import sys
from types import SimpleNamespace
from typing import Any, get_args
from unittest.mock import MagicMock

import click
import generated
import pytest
from google.cloud.aiplatform_v1 import types
from pydantic import BaseModel
from running import ROOT

from kedro_vertexai_mlflow.adopt.command import main as adopt
from kedro_vertexai_mlflow.upgrade.command import main as upgrade
from vertexai_mlflow.cli import COMMANDS, vertexai
from vertexai_mlflow.contract.names import FINISH_TASK, START_TASK, STEP_VARIABLE
from vertexai_mlflow.infra import facts
from vertexai_mlflow.settings.models import Settings

REFERENCE = ROOT / "docs/reference"


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """The dotted keys of a settings model. ``*`` stands for a name that the user chooses."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        if inner is None:
            names.add(prefix + (field.alias or name))
        elif field.annotation in (inner, inner | None):
            names |= keys(inner, f"{prefix}{name}.")
        else:
            names |= {prefix + name} | keys(inner, f"{prefix}{name}.*.")
    return names


def inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := inner_model(part))), None)


def test_the_pages_that_the_code_tells_are_up_to_date():
    """``python docs/generated.py`` writes them."""
    assert (REFERENCE / "help.md").read_text() == generated.help_page()
    assert (REFERENCE / "types.md").read_text() == generated.types_page()


@pytest.mark.parametrize(("command", "page"), [(adopt, "bring-your-project.md"), (upgrade, "follow-the-template.md")])
def test_the_options_of_the_packages_commands_are_explained(command, page):
    text = (REFERENCE.parent / "how-to" / page).read_text()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            shown = [option for option in [*parameter.opts, *parameter.secondary_opts] if f"`{option}`" in text]
            assert shown, parameter.name


@pytest.mark.parametrize("task", [None, START_TASK, FINISH_TASK, "train"])
def test_the_hook_on_the_page_starts_spark_only_where_nodes_run(task, monkeypatch):
    page = (REFERENCE.parent / "how-to/hooks-and-resolvers.md").read_text()
    code = (
        page.partition("## A hook that starts something expensive")[2].partition("```python\n")[2].partition("```")[0]
    )
    started: list[str] = []
    pyspark = MagicMock()
    pyspark.sql.SparkSession.builder.config.return_value.getOrCreate.side_effect = lambda: started.append("session")
    monkeypatch.setitem(sys.modules, "pyspark", pyspark)
    monkeypatch.setitem(sys.modules, "pyspark.sql", pyspark.sql)
    monkeypatch.delenv(STEP_VARIABLE, raising=False)
    if task:
        monkeypatch.setenv(STEP_VARIABLE, task)
    variables: dict[str, Any] = {}
    exec(code, variables)
    variables["SparkHooks"]().after_context_created(
        SimpleNamespace(config_loader={"spark": {"spark.ui.enabled": False}})
    )
    assert started == ([] if task in (START_TASK, FINISH_TASK) else ["session"])


def test_the_node_on_the_page_describes_a_model_that_google_takes():
    page = (REFERENCE.parent / "how-to/models-to-production.md").read_text()
    variables: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], variables)
    model = variables["describe"]("registry/penguins@sha256:0", "penguins")
    assert type(model).to_dict(model)["container_spec"]["ports"] == [{"container_port": 8080}]
    request = types.UploadModelRequest(parent="projects/p/locations/r", model=model, parent_model="")
    assert (request.model.display_name, request.model.container_spec.health_route) == ("penguins", "/ping")


# What is in these is explained where run_config has it.
ELSEWHERE = re.compile(r"^(run_config\.launches\.\*\.(resources|schedule))\..*")


def test_every_key_of_vertexai_yml_is_explained_and_no_other():
    rows = re.findall(r"^\| `([^`]+)` \|", (REFERENCE / "vertexai-yml.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == {ELSEWHERE.sub(r"\1", key) for key in keys(Settings)}


def test_every_fact_is_explained_and_no_other():
    table = re.findall(r"^\| `(\w+)` \|", (REFERENCE / "globals-yml.md").read_text(), re.MULTILINE)
    assert table == list(facts.read(ROOT / "{{ cookiecutter.repo_name }}/conf/cloud/globals.yml"))


def test_every_command_and_option_is_explained_once_and_no_other():
    page = (REFERENCE / "commands.md").read_text()
    introduction, *rest = re.split(r"^## ", page, flags=re.MULTILINE)
    sections = {section.split()[0]: rows(section) for section in rest}
    shared = rows(introduction)
    assert set(sections) == set(COMMANDS)
    context = click.Context(vertexai)
    for name in COMMANDS:
        command = vertexai.get_command(context, name)
        options = {
            option
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
            for option in parameter.opts
        }
        assert sections[name] == options - shared, name
        assert sections[name].isdisjoint(shared), name


def rows(text: str) -> set[str]:
    """The options in the first column of a page's tables."""
    first = "".join(re.findall(r"^\|([^|]+)\|", text, re.MULTILINE))
    return set(re.findall(r"`(--?[a-z][a-z-]*)`", first))


def test_the_list_of_commands_shows_the_first_paragraph_of_each_commands_help():
    context = click.Context(vertexai)
    for name, line in COMMANDS.items():
        assert (vertexai.get_command(context, name).help or "").split("\n\n")[0] == line


def test_the_glossary_has_the_words_that_a_user_of_kedro_does_not_know_in_order():
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", (REFERENCE / "glossary.md").read_text(), re.MULTILINE)
    assert {"artifact", "exit task", "spec", "step", "task", "job", "pipeline root", "platform", "digest"} <= set(words)
    assert words == sorted(words, key=str.lower)
