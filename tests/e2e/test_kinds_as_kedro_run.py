"""Kinds of datasets, nodes and values that a compiled run could treat otherwise than ``kedro run``: the same in each way of running.

One project has a pipeline of them all. It runs by ``kedro run``, as a compiled spec on this machine, and as a compiled spec whose steps
have disks of their own; each node records what it has received.
"""

import shutil
from pathlib import Path

import pytest
import yaml
from three_ways import WAYS, record_in_each_way

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kinds")]

CLASSES = '''
from glob import glob
from pathlib import Path

from kedro.io import AbstractDataset, MemoryDataset
from kedro_datasets.json import JSONDataset
from kedro_datasets.partitions import PartitionedDataset


class DailyFiles(PartitionedDataset):
    """There may be no files of a day."""

    def load(self):
        return {name: load() for name, load in super().load().items()} if self.exists() else {}


class OptionalFile(JSONDataset):
    def load(self):
        return super().load() if self.exists() else "nothing yet"


class Tables(AbstractDataset):
    """All files that a pattern matches, as dask reads them."""

    def __init__(self, filepath):
        self._filepath = filepath

    def load(self):
        return [Path(name).read_text() for name in sorted(glob(self._filepath))]

    def save(self, data):
        for number, text in enumerate(data):
            path = Path(self._filepath.replace("*", str(number)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _describe(self):
        return {}


class Folder(AbstractDataset):
    """A class whose place is an argument of its own."""

    def __init__(self, image_folder="data/images"):
        self._folder = Path(image_folder)

    def load(self):
        return sorted(path.name for path in self._folder.iterdir())

    def save(self, data):
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in data:
            (self._folder / name).write_text(name)

    def _describe(self):
        return {}


class Remembered(MemoryDataset):
    pass
'''
HOOKS = """
from datetime import time

import numpy
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset


class Adding:
    @hook_impl
    def after_context_created(self, context):
        context.config_loader["parameters"] = {**context.config_loader["parameters"], "threshold": 5}
        context.config_loader["catalog"] = {
            **context.config_loader["catalog"],
            "hooked": {"type": "json.JSONDataset", "filepath": "data/01_raw/hooked.json"},
        }


class Context(KedroContext):
    @property
    def params(self):
        return {**super().params, "by_the_context": 6}


RESOLVERS = {"score": lambda: numpy.float64(0.5), "clock": lambda: time(1, 2, 3)}
"""
PIPELINES = """
import os
from pathlib import Path

import numpy
from kedro.pipeline import Node, Pipeline
from sklearn.linear_model import LinearRegression


def record(name):
    def look(*values):
        Path(os.environ["RECORD"], name).write_text(repr(values))

    return look


def scaled(by):
    return lambda x: [y * by for y in x]


def add(seen, more="c"):
    return [*seen, more]


def nothing():
    return {}


def chunks_of_nothing():
    yield from ()


def both(x):
    return x, x


def fit(x):
    return LinearRegression().fit(numpy.array([[1.0], [2.0]]), numpy.array([2.0, 4.0]))


def predict(model):
    record("predicted")(round(float(model.predict(numpy.array([[5.0]]))[0]), 6))


def create_pipeline(**_kwargs):
    return Pipeline([
        # Nothing to write.
        Node(nothing, None, "days", name="no_days"),
        Node(record("days"), "days", None, name="see_days"),
        Node(nothing, None, "news", name="no_news"),
        Node(record("news"), "news", None, name="see_news"),
        Node(chunks_of_nothing, None, "maybe", name="no_chunks"),
        Node(record("maybe"), "maybe", None, name="see_maybe"),
        # One place, read and then written; and by two names that no dataset connects.
        Node(add, "seen_before", "seen", name="add_to_seen"),
        Node(record("seen"), "seen", None, name="see_seen"),
        Node(scaled(2), "numbers", "doubled", name="z_double"),
        Node(record("doubled"), "doubled_too", None, name="a_see_doubled"),  # kedro run reads what is there before
        Node(scaled(3), "numbers", "tripled", name="a_triple"),
        Node(record("tripled"), "tripled_too", None, name="z_see_tripled"),
        # Patterns, own classes, a value in the catalog.
        Node(record("sales"), "sales", None, name="see_sales"),
        Node(lambda: ["x", "y"], None, "parts", name="write_parts"),
        Node(record("parts"), "parts", None, name="see_parts"),
        Node(lambda: ["1.png", "2.png"], None, "images", name="draw"),
        Node(record("images"), "images", None, name="see_images"),
        Node(both, "limits", ["remembered", "plain"], name="remember"),
        Node(record("remembered"), ["remembered", "plain", "limits"], None, name="see_remembered"),
        # What only a session has.
        Node(record("session"), ["params:threshold", "params:by_the_context", "hooked"], None, name="see_session"),
        # Values of resolvers whose type a spec does not know.
        Node(lambda score, clock: [type(score).__name__, score, clock], ["params:score", "params:clock"], "odd", name="odd"),
        Node(record("odd"), ["odd", "params:score", "params:clock"], None, name="see_odd"),
        # Other scripts, and a model of a factory.
        Node(both, "numbers", ["左", "右"], name="前処理"),
        Node(record("学習"), ["左", "右"], None, name="学習"),
        Node(fit, "numbers", "model_linear", name="fit"),
        Node(predict, "model_linear", None, name="predict"),
        # A version.
        Node(lambda x: {"sum": sum(x)}, "numbers", "report", name="write_report"),
        Node(record("report"), "report", None, name="see_report"),
    ])
"""
DATASETS = "test_project.datasets"
CATALOG = {
    "days": {"type": f"{DATASETS}.DailyFiles", "path": "data/03_primary/days", "dataset": "json.JSONDataset", "filename_suffix": ".json"},
    "news": {"type": "partitions.IncrementalDataset", "path": "data/03_primary/news", "dataset": "json.JSONDataset", "filename_suffix": ".json"},
    "maybe": {"type": f"{DATASETS}.OptionalFile", "filepath": "data/03_primary/maybe.json"},
    "seen_before": {"type": "json.JSONDataset", "filepath": "data/01_raw/seen.json"},
    "seen": {"type": "json.JSONDataset", "filepath": "data/01_raw/seen.json"},
    "doubled": {"type": "json.JSONDataset", "filepath": "data/02/doubled.json"},
    "doubled_too": {"type": "json.JSONDataset", "filepath": "data/02/doubled.json"},
    "tripled": {"type": "json.JSONDataset", "filepath": "data/02/tripled.json"},
    "tripled_too": {"type": "json.JSONDataset", "filepath": "data/02/tripled.json"},
    "numbers": {"type": "MemoryDataset", "data": [1, 2, 3]},
    "limits": {"type": "MemoryDataset", "data": {"low": 1}},
    "sales": {"type": f"{DATASETS}.Tables", "filepath": "data/01_raw/sales/*.csv"},
    "parts": {"type": f"{DATASETS}.Tables", "filepath": "data/02/parts/part-*.csv"},
    "images": {"type": f"{DATASETS}.Folder"},
    "remembered": {"type": f"{DATASETS}.Remembered"},
    "model_{kind}": {"type": "kedro_mlflow.io.models.MlflowModelTrackingDataset", "flavor": "mlflow.sklearn", "save_args": {"name": "model"}},
    "report": {"type": "json.JSONDataset", "filepath": "data/08/report.json", "versioned": True},
}  # fmt: skip
RAW = {
    "data/01_raw/seen.json": '["a", "b"]', "data/01_raw/sales/north.csv": "north", "data/01_raw/sales/south.csv": "south",
    "data/01_raw/sales/notes.txt": "notes", "data/01_raw/hooked.json": '"hooked"', "data/02/doubled.json": '"old"',
}  # fmt: skip
FINDS = {
    "days": "({},)", "news": "({},)", "maybe": "('nothing yet',)", "seen": "(['a', 'b', 'c'],)", "doubled": "('old',)", "tripled": "([3, 6, 9],)",
    "sales": "(['north', 'south'],)", "parts": "(['x', 'y'],)", "images": "(['1.png', '2.png'],)",
    "remembered": "({'low': 1}, {'low': 1}, {'low': 1})", "session": "(5, 6, 'hooked')",
    "odd": "(['float64', np.float64(0.5), datetime.time(1, 2, 3)], np.float64(0.5), datetime.time(1, 2, 3))",
    "学習": "([1, 2, 3], [1, 2, 3])", "predicted": "(10.0,)", "report": "({'sum': 6},)",
}  # fmt: skip


def write_raw(project: Path) -> None:
    shutil.rmtree(project / "data", ignore_errors=True)
    for file, text in RAW.items():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text(text)


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "test-project"
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder)
    package = project / "src/test_project"
    (package / "pipelines/kinds").mkdir(parents=True)
    (package / "pipelines/kinds/__init__.py").write_text(PIPELINES)
    (package / "datasets.py").write_text(CLASSES)
    (package / "hooks.py").write_text(HOOKS)
    settings = (package / "settings.py").read_text()
    (package / "settings.py").write_text(
        f"{settings}\nfrom .hooks import RESOLVERS, Adding, Context  # noqa: E402\n\nHOOKS = (Adding(),)\nCONTEXT_CLASS = Context\n"
        'CONFIG_LOADER_ARGS["custom_resolvers"] |= RESOLVERS\n'
    )
    (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(CATALOG))
    (project / "conf/base/parameters.yml").write_text('score: "${score:}"\nclock: "${clock:}"\n')
    return project


@pytest.fixture(scope="module")
def recorded(project) -> dict[str, dict[str, str]]:
    """Way → what each node recorded."""
    chosen, in_image = ("--pipelines", "kinds"), ["data/01_raw", "data/02"]
    texts, printed = record_in_each_way(project, chosen, in_image, lambda: write_raw(project))
    warning = "a hook must add it in every step: the context class Context, Adding.after_context_created"
    # Once for each of the two parameters and the dataset, here and for the cloud.
    assert printed.count(warning) == 6
    return texts


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FINDS)
def test_a_node_finds_the_same_in_each_way_of_running(recorded, name, way):
    assert recorded[way].get(name) == FINDS[name]
