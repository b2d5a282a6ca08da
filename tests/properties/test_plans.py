"""For any pipeline, a plan has each node once, has no cycle, loses no dataset, and is always the same."""

import json
import os

import hypothesis
from graphs import Graph, graphs
from hypothesis import given
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import Plan, make_plan
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig

some = hypothesis.settings(deadline=None, print_blob=True, max_examples=int(os.environ.get("EXAMPLES", "40")))


def built(graph: Graph) -> Pipeline:
    return Pipeline(
        [
            Node(
                lambda *inputs: inputs, node["inputs"], node["outputs"],
                name=node["name"], tags=node["tags"], namespace=node["namespace"],
            )
            for node in graph.nodes
        ]
    )  # fmt: skip


def planned(graph: Graph) -> Plan:
    """Plan a graph. A graph whose groups wait for each other is not used as an example."""
    run_config = RunConfig(image="x", grouping={"cls": graph.grouper}, caching=True)
    try:
        return make_plan("p", built(graph), run_config, Catalog(graph.catalog, "catalog.yml").entry)
    except UserError as error:
        hypothesis.assume("wait for each other" not in str(error))
        raise


@some
@given(graphs())
def test_every_node_is_in_one_step_and_every_step_runs_after_those_it_needs(graph):
    plan = planned(graph)
    pipeline = built(graph)
    placed = [node for step in plan.steps for node in step.nodes]
    assert sorted(placed) == sorted(node.name for node in pipeline.nodes)
    step_of = {node: step.name for step in plan.steps for node in step.nodes}
    ended: set[str] = set()
    for step in plan.steps:
        assert set(step.after) <= ended
        ended.add(step.name)
    for node, parents in pipeline.node_dependencies.items():
        for parent in parents:
            mine, before = step_of[node.name], step_of[parent.name]
            assert mine == before or before in next(step.after for step in plan.steps if step.name == mine)


@some
@given(graphs())
def test_every_dataset_between_two_steps_is_in_the_catalog_or_travels_as_an_artifact(graph):
    plan = planned(graph)
    entry = Catalog(graph.catalog, "catalog.yml").entry
    for step in plan.steps:
        for dataset in step.inputs:
            in_catalog = entry(dataset)
            kept = in_catalog is not None and in_catalog.persists
            assert kept != (dataset in plan.artifacts and plan.artifacts[dataset].travels)
    keys = [artifact.key for artifact in plan.artifacts.values()]
    assert len(keys) == len(set(keys))


@some
@given(graphs())
def test_the_same_pipeline_compiles_to_the_same_bytes(graph):
    def compiled() -> str:
        return json.dumps(compile_plan(planned(graph), Launch("p"), RunConfig(image="x")))

    assert compiled() == compiled()
