"""What ``kedro run`` does with parameters, configuration and hooks, a compiled run does: one table of features.

Each row is a node that records what it has loaded. All rows run together, in one step, three times: by ``kedro run``, as a compiled
spec on this machine, and as a compiled spec whose steps have disks of their own and hand on their data by Cloud Storage.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from three_ways import WAYS, record_in_each_way

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("as-kedro-run")]


class Row(NamedTuple):
    """A node: its name, what it loads, what it must find, and the value in ``--params`` that it is about, if any."""

    name: str
    loads: str | list[str]
    finds: str
    given: str = ""


QUOTED = """the "owner's" $HOME $(id) {{$}} ü"""
ROWS = [
    Row("null", "params:options.none", "None", "options.none=null"),
    Row("empty_value", "params:options.empty", "None", "options.empty="),
    Row("empty_dictionary", "params:options.nothing", "{}", "options.nothing={}"),
    Row("new_key_below_a_dictionary", "params:options", "'found'", "options.found=true"),
    Row("nested", "params:model.layers.first", "3", "model.layers.first=3"),
    Row("list", "params:options.list", "[1.0]", "options.list=[1.0]"),
    Row("whole_float", "params:options.float", "1000.0", "options.float=1e3"),
    Row("large_integer", "params:options.large", "123456789012345678901", "options.large=123456789012345678901"),
    Row("infinity", "params:options.inf", "inf", "options.inf=.inf"),
    Row("date", "params:options.day", "'2024-01-31'", "options.day=2024-01-31"),
    Row("quotes_and_dollars", "params:options.quoted", repr(QUOTED), f"options.quoted={QUOTED}"),
    Row("any_key_of_all_parameters", "parameters", "'anything'", "anything=1"),
    Row("asked_for_by_a_file", "params:asked", "'given'", "asked=given"),
    Row("asked_for_under_a_strange_name", "params:strange", "5", "my-strange_name=5"),
    Row("asked_for_with_a_default", "params:default", "'fallback'"),
    Row("taken_from_globals", "params:bucket", "'data/bucket'"),
    Row("a_custom_resolver", "params:twice", "42"),
    Row("an_object_from_a_resolver", "params:object", "<class 'fractions.Fraction'>"),
    Row("an_environment", "params:where", "'staging'"),
    Row("a_json_file", "params:from_json", "[1, 2]"),
    Row("a_file_in_a_folder", "params:deep", "'in a folder'"),
    Row("a_custom_pattern", "params:patterned", "'found by a pattern'"),
    Row("a_path_by_a_runtime_parameter", "sales", "{'n': 2}", "day=tuesday"),
    Row("a_dataset_that_a_hook_adds", "from_hook", "[0, 1]", "count=2"),
    Row("a_parameter_that_a_hook_adds", "params:from_hook", "'added'"),
    Row("a_validator_that_converts", "checked", "'checked'"),
    Row("a_validator_of_a_factory", "any_checked", "'checked'"),
    Row("a_pipeline_of_two", "from_the_other_pipeline", "'other'"),
]  # fmt: skip
# Rows that look for one thing in a dictionary.
KEYS = {"new_key_below_a_dictionary": "found", "any_key_of_all_parameters": "anything"}

PIPELINES = """
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel


def record(name, value):
    Path(os.environ["RECORD"], name).write_text(value)


def row(name, loads, key):
    def look(value):
        record(name, repr(key if key in value else value) if key else repr(value))

    return Node(look, loads, None, name=name, tags="group.rows")


def stamp(time, other_time, day):
    record("stamp", repr((time, day)))
    return {"time": time, "other": other_time}


def look_at_stamp(stamped, time, other_time, day):
    record("look_at_stamp", repr((time, day, stamped == {"time": time, "other": other_time})))


def make_checked():
    return "not yet", "not yet"


class Trained(BaseModel):
    depth: int
    rate: float = 0.1


@dataclass
class Split:
    share: float


def make_objects(trained: Trained, split: Split | None):
    record("make_objects", repr((trained, split)))
    return 1


def look_at_fields(_made, depth, rate, share, trained):
    record("look_at_fields", repr((depth, rate, share, trained)))


def create_pipeline(**_kwargs):
    rows = [row(*item) for item in json.loads(Path("rows.json").read_text())]
    times = ["params:now", "params:now_by_globals", "params:today"]
    return Pipeline([
        *rows,
        Node(make_checked, None, ["checked", "any_checked"], name="make_checked"),
        Node(make_objects, ["params:trained", "params:splits.first"], "objects", name="make_objects"),
        Node(
            look_at_fields,
            ["objects", "params:trained.depth", "params:trained.rate", "params:splits.first.share", "params:trained"],
            None, name="look_at_fields",
        ),
        Node(stamp, times, "stamped", name="stamp"),
        Node(look_at_stamp, ["stamped", *times], None, name="look_at_stamp"),
    ])
"""
OTHER = """
from kedro.pipeline import Node, Pipeline


def other():
    return "other"


def create_pipeline(**_kwargs):
    return Pipeline([Node(other, None, "from_the_other_pipeline", name="other")])
"""
HOOKS = '''
import os
from fractions import Fraction
from datetime import date
from pathlib import Path
from time import time_ns

from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset

RESOLVERS = {
    "now": time_ns, "today": date.today, "twice": lambda number: 2 * number, "class": lambda _name: Fraction,
    "gcp.secret": lambda: "a secret",
}


class Checked:
    """A validator that converts."""

    def validate(self, data):
        return "checked"


def called(hook):
    with Path(os.environ["RECORD"], "hooks").open("a") as file:
        print(os.environ.get("VERTEXAI_STEP", "kedro run"), hook, file=file)


class Adding:
    @hook_impl
    def after_context_created(self, context):
        called("after_context_created")
        self.count = context.params["count"]

    @hook_impl
    def before_pipeline_run(self):
        called("before_pipeline_run")

    @hook_impl
    def after_pipeline_run(self):
        called("after_pipeline_run")

    @hook_impl
    def after_catalog_created(self, catalog):
        called("after_catalog_created")
        catalog["from_hook"] = MemoryDataset(list(range(self.count)))
        catalog["params:from_hook"] = "added"

    @hook_impl
    def before_node_run(self, node):
        told = [os.environ.get(name, "") for name in ("VERTEXAI_STEP", "VERTEXAI_JOB", "KEDRO_ENV")]
        Path(os.environ["RECORD"], f"{node.name}.told").write_text(" ".join(told))
'''
SETTINGS = """

from .hooks import RESOLVERS, Adding  # noqa: E402

HOOKS = (Adding(),)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)
CONFIG_LOADER_ARGS["custom_resolvers"] |= RESOLVERS
CONFIG_LOADER_ARGS["config_patterns"]["parameters"] = ["parameters*", "parameters*/**", "**/parameters*", "of_nodes/**"]
"""
FILES = {
    "conf/base/globals.yml": {"bucket": "data/bucket", "now": "${now:}"},
    "conf/base/parameters.yml": {
        "options": {"given": 1}, "splits": {"first": {"share": 0.5}}, "trained": {"depth": "3"}, "model": {"layers": {"first": 1}}, "where": "base", "count": 3,
        "asked": "${runtime_params:asked}", "strange": "${runtime_params:my-strange_name}",
        "default": "${runtime_params:nobody_gives_this, fallback}", "bucket": "${globals:bucket}",
        "twice": "${twice:21}", "object": "${class:Fraction}", "now": "${now:}", "now_by_globals": "${globals:now}",
        "today": "${today:}", "token": "${gcp.secret:}",
    },
    "conf/base/parameters_extra.json": {"from_json": [1, 2]},
    "conf/base/deeper/parameters_deep.yaml": {"deep": "in a folder"},
    "conf/base/of_nodes/any.yml": {"patterned": "found by a pattern"},
    "conf/staging/parameters.yml": {"where": "staging"},
    "conf/base/catalog.yml": {
        "sales": {"type": "json.JSONDataset", "filepath": "data/01_raw/${runtime_params:day}.json"},
        "stamped": {"type": "json.JSONDataset", "filepath": "data/02_intermediate/${now:}.json"},
        "checked": {"type": "MemoryDataset", "validator": "test_project.hooks.Checked"},
        "{any}_checked": {"type": "MemoryDataset", "validator": {"class": "test_project.hooks.Checked"}},
    },
    "data/01_raw/monday.json": {"n": 1},
    "data/01_raw/tuesday.json": {"n": 2},
}  # fmt: skip
PARAMS = ",".join(row.given for row in ROWS if row.given)


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("as-kedro-run") / "test-project"
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder)
    package = project / "src/test_project"
    for name, source in (("rows", PIPELINES), ("other", OTHER)):
        (package / "pipelines" / name).mkdir(parents=True)
        (package / "pipelines" / name / "__init__.py").write_text(source)
    (package / "hooks.py").write_text(HOOKS)
    (package / "settings.py").write_text((package / "settings.py").read_text() + SETTINGS)
    for file, content in FILES.items():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        dump = json.dumps if file.endswith(".json") else yaml.safe_dump
        (project / file).write_text(dump(content))
    (project / "rows.json").write_text(json.dumps([[row.name, row.loads, KEYS.get(row.name, "")] for row in ROWS]))
    return project


@pytest.fixture(scope="module")
def recorded(project) -> dict[str, dict[str, str]]:
    """Way → what each node recorded."""
    return record_in_each_way(
        project,
        ("--pipelines", "rows,other", "--params", PARAMS),
        ["rows.json", "data/01_raw"],
        lambda: shutil.rmtree(project / "data/02_intermediate", ignore_errors=True),
        {"hook_params": ["count"], "grouping": {"cls": "TagNodeGrouper"}},
        "staging",
    )[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_node_finds_the_same_in_each_way_of_running(recorded, row, way):
    assert recorded[way][row.name] == row.finds


@pytest.mark.parametrize("way", WAYS)
def test_kedro_makes_the_same_objects_of_parameters_by_type_hints(recorded, way):
    """Also for a step whose own nodes name no types."""
    assert recorded[way]["make_objects"] == "(Trained(depth=3, rate=0.1), Split(share=0.5))"
    assert recorded[way]["look_at_fields"] == "(3, 0.1, 0.5, Trained(depth=3, rate=0.1))"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_resolver_takes_from_the_clock_is_the_same_in_all_steps(recorded, way):
    time, day = eval(recorded[way]["stamp"], {"datetime": __import__("datetime")})
    assert eval(recorded[way]["look_at_stamp"], {"datetime": __import__("datetime")}) == (time, day, True)


def test_each_job_resolves_such_values_anew(recorded):
    assert len({recorded[way]["stamp"] for way in WAYS}) == len(WAYS)


def test_what_google_gives_is_in_no_spec(project, recorded):
    assert "secret" not in (project / "pipeline.json").read_text()


def test_a_hook_learns_in_which_step_of_which_job_it_is(recorded):
    assert recorded["kedro run"]["stamp.told"].split(" ") == ["", "", "staging"]
    assert recorded["own disks"]["stamp.told"] == "stamp job-1 staging"
    assert recorded["run-local"]["look_at_stamp.told"].startswith("look-at-stamp test-project-rows-other-2")


OF_A_RUN = ["after_catalog_created", "before_pipeline_run", "after_pipeline_run"]


def test_hooks_of_a_run_are_called_in_each_step(recorded):
    """docs/how-to/hooks-and-resolvers.md says so."""
    assert recorded["kedro run"]["hooks"].splitlines() == [
        f"kedro run {hook}" for hook in ["after_context_created", *OF_A_RUN]
    ]
    for way in ("run-local", "own disks"):
        called = recorded[way]["hooks"].splitlines()
        for task in ("mlflow-start-run", "mlflow-finish-run"):
            assert [line for line in called if line.startswith(task)] == [f"{task} after_context_created"]
        for step in ("make-checked", "look-at-stamp", "rows"):
            hooks = [line.removeprefix(f"{step} ") for line in called if line.startswith(f"{step} ")]
            assert hooks == ["after_context_created", "after_context_created", *OF_A_RUN]
