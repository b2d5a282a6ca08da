"""``kedro vertexai plans`` in a generated project: what CI checks for each change, and says about a pull request."""

import json
import shutil

import pytest
from pipeline_runs import vertexai

pytestmark = pytest.mark.slow
REGISTRY = "src/test_project/pipeline_registry.py"


def test_every_pipeline_is_compiled_and_what_differs_from_another_checkout_is_told(make_project, tmp_path):
    project = make_project()
    assert vertexai(project, "plans").stdout == "__default__: 6 steps\npenguins: 6 steps\n"
    base = tmp_path / "base"
    shutil.copytree(project, base)
    same = vertexai(project, "plans", "--since", str(base))
    assert same.stdout == "### Plans in base\n\nNo step changes.\n\nNo schedule changes.\n", same.stderr
    # The code of each checkout is its own, although only one of them is installed.
    nodes = project / "src/test_project/pipelines/penguins/nodes.py"
    nodes.write_text(nodes.read_text().replace("def split(", "def split(\n    # An edit that changes nothing.\n    "))
    settings = project / "conf/base/vertexai.yml"
    settings.write_text(settings.read_text().replace("memory: 2Gi", "memory: 4Gi"))
    registry = project / REGISTRY
    registry.write_text(registry.read_text() + BROKEN)
    told = vertexai(project, "plans", "--since", str(base))
    assert told.returncode == 0, told.stderr
    assert "resources: memory 2Gi → 4Gi |" in told.stdout
    assert "| lost |  | Dataset 'nothing' (input of node 'lose' of pipeline 'lost') is made by no node" in told.stdout
    refused = vertexai(project, "plans")
    assert (refused.returncode, refused.stdout) == (1, "__default__: 6 steps\npenguins: 6 steps\n")
    assert "lost: Dataset 'nothing' (input of node 'lose' of pipeline 'lost')" in refused.stderr
    as_json = vertexai(project, "plans", "--format", "json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["pipelines"]["lost"].startswith("Dataset")


BROKEN = """

def _with_a_lost_one(registered=register_pipelines):
    from kedro.pipeline import Node, Pipeline
    return {**registered(), "lost": Pipeline([Node(print, "nothing", None, name="lose")])}


register_pipelines = _with_a_lost_one
"""


def test_a_checkout_that_cannot_be_planned_is_said_and_is_no_failure(make_project, tmp_path):
    project = make_project()
    (tmp_path / "base").mkdir()
    told = vertexai(project, "plans", "--since", str(tmp_path / "base"))
    assert told.returncode == 0
    assert "The plans of before could not be made, so nothing is compared: " in told.stdout
    assert not list(project.glob("pipeline.json"))
