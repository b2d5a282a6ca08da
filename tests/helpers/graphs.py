"""Kedro pipelines as data, with all kinds of shapes, names, groups and datasets. Hypothesis makes them up."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

# Names with all characters that Kedro allows. Dataset names may have more of them than node names.
_NODE_NAMES = st.sampled_from(["train", "a_b", "a-b", "a.b", "A", "X_9", "z-"])
_DATASET_NAMES = st.sampled_from(["x", "ns.x", "a:b", "a#b", "Ümläut", "two words", "x_y", "x-y", "it's"])
# What a node returns: a text, a lambda, which only cloudpickle can write, a table, or the chunks of a generator.
_KINDS = st.sampled_from(["value", "value", "value", "lambda", "frame", "generator"])
# How the catalog keeps a dataset: not at all, in a file, in a versioned file, in memory, transcoded, by a dataset
# factory, or in a file with a cache.
_PLACES = st.sampled_from(["", "", "", "", "file", "versioned", "memory", "transcoded", "factory", "cached"])
# Kedro saves each chunk of a generator by itself, and it saves no version twice.
_PLACES_OF_CHUNKS = _PLACES.filter(lambda place: place != "versioned")
GROUPERS = ["IdentityNodeGrouper", "TagNodeGrouper", "NamespaceNodeGrouper", "ChainNodeGrouper"]


@dataclass
class Graph:
    """A pipeline.

    Args:
        nodes: name, inputs, outputs, kind, tags, namespace.
        catalog: ``catalog.yml``.
        grouper: name of a grouper.
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    catalog: dict[str, Any] = field(default_factory=dict)
    grouper: str = "IdentityNodeGrouper"


@st.composite
def graphs(draw: st.DrawFn, most: int = 7) -> Graph:
    """Make up a pipeline of at most ``most`` nodes. Each node takes outputs of the nodes before it."""
    graph = Graph(grouper=draw(st.sampled_from(GROUPERS)))
    graph.catalog["{layer}!{name}"] = _file("factory/{layer}-{name}.pkl")
    available: list[str] = []
    for number in range(draw(st.integers(1, most))):
        inputs = draw(st.lists(st.sampled_from(available), max_size=4, unique=True)) if available else []
        kind = draw(_KINDS)
        outputs = []
        for index in range(1 if kind == "generator" else draw(st.integers(1, 2))):
            base = f"{draw(_DATASET_NAMES)}{number}{index}"
            made, taken = _kept(graph.catalog, base, draw(_PLACES if kind != "generator" else _PLACES_OF_CHUNKS))
            outputs.append(made)
            available.append(taken)
        tags = draw(st.lists(st.sampled_from(["group.one", "group.two"]), max_size=1))
        graph.nodes.append(
            {
                "name": f"{draw(_NODE_NAMES)}{number}",
                "inputs": ["params:salt", *inputs],
                "outputs": outputs,
                "kind": kind,
                "tags": tags,
                "namespace": draw(st.sampled_from([None, None, "first", "second.deep"])),
            }
        )
    return graph


def _kept(catalog: dict[str, Any], base: str, place: str) -> tuple[str, str]:
    """Write a dataset into the catalog.

    Returns:
        The name of the dataset as an output, and its name as an input.
    """
    file = f"{sum(map(ord, base))}-{len(catalog)}.pkl"
    if place == "transcoded":
        catalog[f"{base}@one"] = catalog[f"{base}@two"] = _file(file)
        return f"{base}@one", f"{base}@two"
    if place == "factory":
        return f"layer!{base}", f"layer!{base}"
    if place == "file":
        catalog[base] = _file(file)
    elif place == "versioned":
        catalog[base] = {**_file(file), "versioned": True}
    elif place == "cached":
        catalog[base] = {"type": "kedro.io.CachedDataset", "dataset": _file(file)}
    elif place == "memory":
        catalog[base] = {"type": "MemoryDataset", "metadata": {"vertexai": {"type": "Dataset"}}}
    return base, base


def _file(name: str) -> dict[str, Any]:
    return {"type": "pickle.PickleDataset", "filepath": f"data/{name}", "backend": "cloudpickle"}


# The pipeline module of a project, which builds the graph from graph.json. The outputs of a node are a digest of its
# name, its parameters and its inputs. Each node also writes them into the folder RECORD, so two runs can be compared.
SOURCE = '''
import hashlib
import json
import os
from pathlib import Path

import pandas as pd
from kedro.pipeline import Node, Pipeline


def seen(value):
    """An input as text: what a lambda returns, or what is in a data frame."""
    if callable(value):
        value = value()
    return value["value"].iloc[0] if isinstance(value, pd.DataFrame) else str(value)


def function(name, kind, count):
    def work(*inputs):
        text = "|".join([name, *map(seen, inputs)])
        made = [hashlib.sha256(f"{index}|{text}".encode()).hexdigest() for index in range(count)]
        record = Path(os.environ["RECORD"]) / name
        record.write_text(json.dumps([text, made]))
        if kind == "lambda":
            return [lambda value=value: value for value in made]
        if kind == "frame":
            return [pd.DataFrame({"value": [value]}) for value in made]
        return made

    def chunks(*inputs):
        for chunk in ("first", "last"):
            yield work(chunk, *inputs)[0]

    return chunks if kind == "generator" else work if count > 1 else lambda *inputs: work(*inputs)[0]


def create_pipeline(**_kwargs):
    graph = json.loads(Path("graph.json").read_text())
    return Pipeline(
        [
            Node(
                function(f"{item['namespace']}.{item['name']}", item["kind"], len(item["outputs"])),
                item["inputs"],
                item["outputs"] if len(item["outputs"]) > 1 else item["outputs"][0],
                name=item["name"],
                tags=item["tags"],
                namespace=item["namespace"],
            )
            for item in graph["nodes"]
        ]
    )
'''
