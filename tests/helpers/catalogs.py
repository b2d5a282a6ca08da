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
# What such a file may have in it before a pipeline runs.
_TEXTS = {"json.JSONDataset": '{"value": "there"}', "pandas.CSVDataset": "value\nthere\n"}
# The module that has the project's own classes.
MODULE = "test_project.pipelines.under_test"


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
        node: dict[str, Any] = {"name": f"node{number}", "inputs": [], "outputs": [], "tags": []}
        inputs = draw(st.lists(st.sampled_from(available), max_size=3, unique=True)) if available else []
        if draw(st.integers(0, 3)) == 0:
            inputs.append(draw(st.sampled_from(_ONLY_READ))(case, draw, f"read{number}"))
        outputs: list[list[str]] = []
        for index in range(draw(st.integers(1, 2))):
            made, form, taken = draw(st.sampled_from(_MADE))(case, draw, f"made{number}{index}")
            outputs.append([made, form])
            # About a quarter of all datasets is only written.
            available += taken if draw(st.integers(0, 3)) else []
        if draw(st.integers(0, 5)) == 0:
            before, after = _read_and_written(case, f"seen{number}")
            inputs.append(before)
            outputs.append([after, "value"])
            available.append(after)
        node["tags"] = draw(st.lists(st.sampled_from(["group.one", "group.two"]), max_size=1))
        case.nodes.append({**node, "inputs": inputs, "outputs": outputs})
    return case


def _read_and_written(case: Case, name: str) -> tuple[str, str]:
    """One file that a node reads and then writes: its names as an input and as an output."""
    entry = {**_FILES["json"], "filepath": f"data/01_raw/{name}.json"}
    case.files[entry["filepath"]] = '{"value": "before"}'
    case.catalog |= {f"{name}_before": entry, name: entry}
    case.kinds |= {f"{name}_before": "read and written", name: "read and written"}
    return f"{name}_before", name


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


# Factories for the classes that are treated in ways of their own: the entry, and a form for its data.
_CACHED = {"type": "CachedDataset", "dataset": {**_FILES["json"], "filepath": "data/factory/{name}.cached.json"}}
_PARTS = {"type": "partitions.PartitionedDataset", "path": "data/factory/{name}", "dataset": "json.JSONDataset"}
_LOGGED = {
    "type": "kedro_mlflow.io.artifacts.MlflowArtifactDataset",
    "dataset": {**_FILES["json"], "filepath": "data/factory/{name}.logged.json"},
}
_FACTORIES = {
    "data": ({**_FILES["json"], "filepath": "data/factory/{name}.json"}, "value"),
    "versions": ({**_FILES["csv"], "filepath": "data/factory/{name}.csv", "versioned": True}, "frame"),
    "cached": (_CACHED, "value"),
    "parts": (_PARTS, "partitions"),
    "logged": (_LOGGED, "value"),
    "texts": ({"type": f"{MODULE}.Texts", "filepath": "data/factory/{name}-*.txt"}, "texts"),
    "memory": ({"type": "MemoryDataset"}, "frame"),
}


def _factory(case: Case, draw: st.DrawFn, name: str) -> Made:
    ending = draw(st.sampled_from(sorted(_FACTORIES)))
    entry, form = _FACTORIES[ending]
    case.catalog[f"{{name}}_{ending}"] = entry
    case.kinds[f"{name}_{ending}"] = "versioned" if ending == "versions" else "factory"
    return f"{name}_{ending}", form, [f"{name}_{ending}"]


def _pattern(case: Case, draw: st.DrawFn, name: str) -> Made:
    """Files that match a pattern, by a class of the project's own; one of them may have an entry, too."""
    entry = {"type": f"{MODULE}.Texts", "filepath": f"data/{draw(_FOLDERS)}{name}-*.txt"}
    return _entry(case, name, "pattern", entry, draw(st.sampled_from(["texts", "no texts"])))


def _nothing(case: Case, draw: st.DrawFn, name: str) -> Made:
    """Partitions, of which there are none today."""
    return _entry(case, name, "empty", {**_folder(name), "type": f"{MODULE}.Days"}, "no partitions")


def _transcoded(case: Case, draw: st.DrawFn, name: str) -> Made:
    path = f"data/{draw(_FOLDERS)}{name}.csv"
    case.catalog[f"{name}@text"] = {"type": "text.TextDataset", "filepath": path}
    entry = {"type": "pandas.CSVDataset", "filepath": path}
    taken = draw(st.sampled_from([[f"{name}@text"], [f"{name}@text", f"{name}@pandas"]]))
    return _entry(case, f"{name}@pandas", "transcoded", entry, "frame", *taken)


def _one_place(case: Case, draw: st.DrawFn, name: str) -> Made:
    """One file by two names; what is read before it is written was there before."""
    entry, form = _file(draw, name, "data/one place/")
    case.files[entry["filepath"]] = _TEXTS.get(entry["type"], "")
    if entry["type"] not in _TEXTS:
        return _entry(case, name, "file", entry, form)
    case.catalog[f"{name} again"] = entry
    return _entry(case, name, "one place", entry, form, f"{name} again")


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
    _not_in_the_catalog, _pattern, _nothing, _one_place,
]  # fmt: skip


def _read_file(case: Case, draw: st.DrawFn, name: str) -> str:
    """A file that is there already; returns the dataset's name."""
    ending = draw(st.sampled_from(["json", "csv"]))
    path = f"data/{draw(_FOLDERS)}{name}.{ending}"
    case.files[path] = _TEXTS[_FILES[ending]["type"]]
    return _entry(case, name, "read", {**_FILES[ending], "filepath": path}, "")[0]


def _read_folder(case: Case, draw: st.DrawFn, name: str) -> str:
    for part in ("one", "sub/two"):
        case.files[f"data/parts/{name}/{part}.json"] = json.dumps({"value": part})
    return _entry(case, name, "read", _folder(name), "")[0]


def _read_pattern(case: Case, draw: st.DrawFn, name: str) -> str:
    for part in draw(st.sampled_from([["one"], ["one", "two"]])):
        case.files[f"data/texts/{name}-{part}.txt"] = part
    case.files[f"data/texts/{name}.md"] = "does not match"
    return _entry(case, name, "read", {"type": f"{MODULE}.Texts", "filepath": f"data/texts/{name}-*.txt"}, "")[0]


def _read_value(case: Case, draw: st.DrawFn, name: str) -> str:
    """A value that is in the catalog itself."""
    return _entry(case, name, "in the catalog", {"type": "MemoryDataset", "data": {"value": name}}, "")[0]


_ONLY_READ = [_read_file, _read_folder, _read_pattern, _read_value]

# The pipeline module of a project, which builds the pipeline from graph.json. The outputs of a node are digests of its
# name and of what it has received. Each node also writes both into the folder RECORD, so two runs can be compared.
SOURCE = '''
import hashlib
import json
import os
from pathlib import Path

import pandas as pd
from kedro.io import AbstractDataset
from kedro.pipeline import Node, Pipeline
from kedro_datasets.partitions import PartitionedDataset
from matplotlib.figure import Figure


class Texts(AbstractDataset):
    """All files that match a pattern."""

    def __init__(self, filepath):
        self._filepath = Path(filepath)

    def _files(self):
        return sorted(self._filepath.parent.glob(self._filepath.name))

    def load(self):
        return [file.read_text() for file in self._files()]

    def save(self, data):
        for file in self._files():
            file.unlink()
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(data):
            self._filepath.with_name(self._filepath.name.replace("*", str(number))).write_text(text)

    def _exists(self):
        return bool(self._files())

    def _describe(self):
        return {}


class Days(PartitionedDataset):
    """There may be no partitions."""

    def load(self):
        return super().load() if self.exists() else {}


def seen(value):
    """What a node has received, as text."""
    if callable(value):
        return seen(value())
    if isinstance(value, pd.DataFrame):
        return value.to_csv(index=False)
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, dict):
        return json.dumps({key: seen(item) for key, item in sorted(value.items())})
    return str(value)


def handed_over(form, text):
    """What a node returns for a digest."""
    if form == "frame":
        return pd.DataFrame({"value": [text, text[:8]], "length": [len(text), 8]})
    if form in ("no partitions", "no texts"):
        return {} if form == "no partitions" else []
    if form == "texts":
        return [text, text[:8]]
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
