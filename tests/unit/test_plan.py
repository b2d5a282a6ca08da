import pytest
from kedro.pipeline import Node, Pipeline
from starter.vertexai import render
from starter.vertexai.config import RunConfig
from starter.vertexai.errors import UserError
from starter.vertexai.plan import Resources, make_plan


def same(*args):
    return args


def planned(*nodes: Node, catalog: tuple[str, ...] = ("raw",), **run_config):
    return make_plan("p", Pipeline(nodes), RunConfig(image="x", **run_config), catalog.__contains__)


def test_a_step_per_node_with_what_flows_between_them():
    plan = planned(
        Node(same, ["raw", "params:a"], "made", name="First"),
        Node(same, ["made", "parameters"], "kept", name="second"),
        Node(same, "kept", "end", name="third"),
        catalog=("raw", "kept"),
    )
    assert [(step.name, step.nodes, step.inputs, step.outputs, step.after) for step in plan.steps] == [
        ("first", ("First",), ("raw",), ("made",), ()),
        ("second", ("second",), ("made",), ("kept",), ("first",)),
        ("third", ("third",), ("kept",), ("end",), ("second",)),
    ]
    assert plan.artifacts == {"made": "data_made"}


def test_datasets_that_sanitise_alike_keep_artifacts_of_their_own():
    plan = planned(Node(same, "raw", ["a#b", "a:b"], name="one"), Node(same, ["a#b", "a:b"], "end", name="two"))
    assert plan.artifacts == {"a#b": "data_a_b", "a:b": "data_a_b_2"}


@pytest.mark.parametrize("other", ["a-b", "a.b", "A_b"])
def test_two_names_that_become_one_task_are_both_named(other):
    with pytest.raises(UserError, match=r"'a_b'.*both become the task 'a-b'") as error:
        planned(Node(same, "raw", "x", name="a_b"), Node(same, "raw", "y", name=other))
    assert f"'{other}'" in str(error.value)


def test_a_node_cannot_take_a_task_name_of_mlflow():
    with pytest.raises(UserError, match="kept for MLflow"):
        planned(Node(same, "raw", "x", name="mlflow_start_run"))


def test_a_dataset_from_nowhere_is_named_with_its_node_and_the_cure():
    with pytest.raises(UserError, match=r"'missing' \(input of node 'lost' of pipeline 'p'\).*conf/base/catalog.yml"):
        planned(Node(same, "missing", "x", name="lost"))


def test_the_most_specific_resources_win_field_by_field():
    plan = planned(
        Node(same, "raw", "x", name="plain"),
        Node(same, "x", "y", name="big", tags="heavy"),
        resources={"__default__": {"cpu": 1, "memory": "1Gi"}, "heavy": {"memory": "8Gi"}, "big": {"cpu": 4}},
    )
    assert [step.resources for step in plan.steps] == [Resources("1", "1Gi"), Resources("4", "8Gi")]


def test_the_graph_shows_the_datasets_on_its_edges():
    plan = planned(Node(same, "raw", "made", name="one"), Node(same, "made", "end", name="two"))
    assert render.as_mermaid(plan).splitlines() == [
        "flowchart TD",
        "    start([mlflow-start-run])",
        '    s0["one"]',
        '    s1["two"]',
        "    finish([mlflow-finish-run])",
        "    start --> s0",
        '    s0 -->|"made"| s1',
        "    s1 -.-> finish",
    ]
