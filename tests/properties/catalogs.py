"""Small Kedro pipelines over all kinds of catalog entries, as data. Hypothesis makes them up."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from graphs import GROUPERS
from hypothesis import strategies as st

# Stands in paths for a folder outside of the project; a test says where that is.
ELSEWHERE = "/ELSEWHERE"
_FOLDERS = st.sampled_from(["", "02_primary/", "deep/in a/földer/"])
_TEMPLATES = st.sampled_from(["${_base}/", "${_base}/in/", "${globals:data}/", "data/${globals:layers.raw}/"])
_FILES = {
    "json": {"type": "json.JSONDataset"},
    "csv": {"type": "pandas.CSVDataset"},
    "pickle": {"type": "pickle.PickleDataset"},
}
# How a node hands over a digest: as a dictionary, a table, a text, partitions, partitions that are made when they are
# saved, or figures.
_FORMS = {"json": ["value"], "csv": ["frame"], "pickle": ["value", "frame"]}


@dataclass
class Case:
    """A pipeline and its catalog.

    Args:
        nodes: name, inputs, outputs with their forms, tags.
        catalog: ``catalog.yml``; paths may begin with ``ELSEWHERE``.
        files: path → text of the files that must be there before the pipeline runs.
        kinds: dataset → what kind of entry it has.
        grouper: name of a grouper.
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    catalog: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    grouper: str = "IdentityNodeGrouper"

    def write(self, project: Path, elsewhere: Path) -> None:
        """Write the project's ``catalog.yml``, ``globals.yml``, ``graph.json`` and data that is only read."""
        catalog = yaml.safe_dump(self.catalog, allow_unicode=True).replace(ELSEWHERE, str(elsewhere))
        (project / "conf/base/catalog.yml").write_text(catalog)
        (project / "conf/base/globals.yml").write_text(yaml.safe_dump(_GLOBALS))
        (project / "graph.json").write_text(json.dumps(self.nodes))
        for path, text in self.files.items():
            file = project / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


_GLOBALS = {"data": "data/03 global", "layers": {"raw": "01_raw"}}


@st.composite
def cases(draw: st.DrawFn, most: int = 5) -> Case:
    """Make up a pipeline of two to ``most`` nodes. Each node takes outputs of nodes before it, and data that is there."""
    case = Case(grouper=draw(st.sampled_from(GROUPERS)))
    case.catalog["_base"] = "data/${globals:layers.raw}/base"
    available: list[str] = []
    for number in range(draw(st.integers(2, most))):
        inputs = draw(st.lists(st.sampled_from(available), max_size=3, unique=True)) if available else []
        if draw(st.integers(0, 3)) == 0:
            inputs.append(draw(st.sampled_from(_ONLY_READ))(case, draw, f"read{number}"))
        outputs: list[list[str]] = []
        for index in range(draw(st.integers(1, 2))):
            made, form, taken = draw(st.sampled_from(_MADE))(case, draw, f"made{number}{index}")
            outputs.append([made, form])
            # About a quarter of all datasets is only written.
            available += taken if draw(st.integers(0, 3)) else []
        tags = draw(st.lists(st.sampled_from(["group.one", "group.two"]), max_size=1))
        case.nodes.append({"name": f"node{number}", "inputs": inputs, "outputs": outputs, "tags": tags})
    return case


# What makes a dataset: it writes the entry, and returns the dataset's name as an output, the form that a node hands it
# over in, and its names as an input.
Made = tuple[str, str, list[str]]
Maker = Callable[[Case, st.DrawFn, str], Made]


def _file(draw: st.DrawFn, name: str, folder: str) -> tuple[dict[str, Any], str]:
    """An entry for one file, and the form of its data."""
    ending = draw(st.sampled_from(sorted(_FILES)))
    return {**_FILES[ending], "filepath": f"{folder}{name}.{ending}"}, draw(st.sampled_from(_FORMS[ending]))


def _entry(case: Case, name: str, kind: str, entry: dict[str, Any], form: str, *taken: str) -> Made:
    case.catalog[name] = entry
    case.kinds[name] = kind
    return name, form, list(taken or [name])


def _plain(case: Case, draw: st.DrawFn, name: str) -> Made:
    return _entry(case, name, "file", *_file(draw, name, f"data/{draw(_FOLDERS)}"))


def _templated(case: Case, draw: st.DrawFn, name: str) -> Made:
    return _entry(case, name, "templated", *_file(draw, name, draw(_TEMPLATES)))


def _absolute(case: Case, draw: st.DrawFn, name: str) -> Made:
    return _entry(case, name, "absolute", *_file(draw, name, f"{ELSEWHERE}/{draw(_FOLDERS)}"))


def _versioned(case: Case, draw: st.DrawFn, name: str) -> Made:
    entry, form = _file(draw, name, f"data/{draw(_FOLDERS)}")
    return _entry(case, name, "versioned", {**entry, "versioned": True}, form)


def _cached(case: Case, draw: st.DrawFn, name: str) -> Made:
    entry, form = _file(draw, name, f"data/{draw(_FOLDERS)}")
    return _entry(case, name, "cached", {"type": "kedro.io.CachedDataset", "dataset": entry}, form)


def _mlflow(case: Case, draw: st.DrawFn, name: str) -> Made:
    type_ = "kedro_mlflow.io.artifacts.MlflowArtifactDataset"
    file = {**_FILES["json"], "filepath": f"data/{draw(_FOLDERS)}{name}.json"}
    return _entry(case, name, "mlflow", {"type": type_, "dataset": file}, "value")


def _factory(case: Case, draw: st.DrawFn, name: str) -> Made:
    case.catalog["{name}_data"] = {**_FILES["json"], "filepath": "data/factory/{name}.json"}
    case.kinds[f"{name}_data"] = "factory"
    return f"{name}_data", "value", [f"{name}_data"]


def _transcoded(case: Case, draw: st.DrawFn, name: str) -> Made:
    path = f"data/{draw(_FOLDERS)}{name}.csv"
    case.catalog[f"{name}@text"] = {"type": "text.TextDataset", "filepath": path}
    entry = {"type": "pandas.CSVDataset", "filepath": path}
    taken = draw(st.sampled_from([[f"{name}@text"], [f"{name}@text", f"{name}@pandas"]]))
    return _entry(case, f"{name}@pandas", "transcoded", entry, "frame", *taken)


def _partitioned(case: Case, draw: st.DrawFn, name: str) -> Made:
    return _entry(case, name, "partitioned", _folder(name), draw(st.sampled_from(["partitions", "lazy partitions"])))


def _folder(name: str) -> dict[str, Any]:
    type_ = "partitions.PartitionedDataset"
    return {"type": type_, "path": f"data/parts/{name}", "dataset": "json.JSONDataset", "filename_suffix": ".json"}


def _figures(case: Case, draw: st.DrawFn, name: str) -> Made:
    """One figure in a file, or many in a folder; Kedro cannot load them again."""
    form = draw(st.sampled_from(["figure", "figures"]))
    path = f"data/08_reporting/{name}{'.png' if form == 'figure' else ''}"
    made, form, _ = _entry(case, name, "figures", {"type": "matplotlib.MatplotlibDataset", "filepath": path}, form)
    return made, form, []


def _not_in_the_catalog(case: Case, draw: st.DrawFn, name: str) -> Made:
    case.kinds[name] = "none"
    return name, draw(st.sampled_from(["value", "frame", "text"])), [name]


_MADE: list[Maker] = [
    _plain, _plain, _templated, _absolute, _versioned, _cached, _mlflow, _factory, _transcoded, _partitioned, _figures,
    _not_in_the_catalog,
]  # fmt: skip


def _read_file(case: Case, draw: st.DrawFn, name: str) -> str:
    """A file that is there already; returns the dataset's name."""
    ending, text = draw(st.sampled_from([("json", '{"value": "there"}'), ("csv", "value\nthere\n")]))
    path = f"data/{draw(_FOLDERS)}{name}.{ending}"
    case.files[path] = text
    return _entry(case, name, "read", {**_FILES[ending], "filepath": path}, "")[0]


def _read_folder(case: Case, draw: st.DrawFn, name: str) -> str:
    for part in ("one", "sub/two"):
        case.files[f"data/parts/{name}/{part}.json"] = json.dumps({"value": part})
    return _entry(case, name, "read", _folder(name), "")[0]


_ONLY_READ = [_read_file, _read_folder]

# The pipeline module of a project, which builds the pipeline from graph.json. The outputs of a node are digests of its
# name and of what it has received. Each node also writes both into the folder RECORD, so two runs can be compared.
SOURCE = '''
import hashlib
import json
import os
from pathlib import Path

import pandas as pd
from kedro.pipeline import Node, Pipeline
from matplotlib.figure import Figure


def seen(value):
    """What a node has received, as text."""
    if callable(value):
        return seen(value())
    if isinstance(value, pd.DataFrame):
        return value.to_csv(index=False)
    if isinstance(value, dict):
        return json.dumps({key: seen(item) for key, item in sorted(value.items())})
    return str(value)


def handed_over(form, text):
    """What a node returns for a digest."""
    if form == "frame":
        return pd.DataFrame({"value": [text, text[:8]], "length": [len(text), 8]})
    if form == "partitions":
        return {part: {"value": text + part} for part in ("one", "sub/two")}
    if form == "lazy partitions":
        return {part: lambda part=part: {"value": text + part} for part in ("one", "sub/two")}
    if form == "figure":
        return drawn(text)
    if form == "figures":
        return {f"{number}.png": drawn(text[number:]) for number in range(3)}
    return text if form == "text" else {"value": text}


def drawn(text):
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([ord(letter) for letter in text])
    return figure


def function(name, forms):
    def work(*inputs):
        text = "|".join([name, *map(seen, inputs)])
        made = ["d" + hashlib.sha256(f"{index}|{text}".encode()).hexdigest() for index in range(len(forms))]
        (Path(os.environ["RECORD"]) / name).write_text(json.dumps([text, made]))
        returned = [handed_over(form, digest) for form, digest in zip(forms, made)]
        return returned if len(returned) > 1 else returned[0]

    return work


def create_pipeline(**_kwargs):
    return Pipeline(
        [
            Node(
                function(item["name"], [form for _name, form in item["outputs"]]),
                item["inputs"] or None,
                [name for name, _form in item["outputs"]] if len(item["outputs"]) > 1 else item["outputs"][0][0],
                name=item["name"],
                tags=item["tags"],
            )
            for item in json.loads(Path("graph.json").read_text())
        ]
    )
'''
