"""The projects that are measured: one of this starter, and the peer's in an environment of its own."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from timing import BIN, ROOT, command

PEER = ROOT / "build" / "peer"

# Of the peer's environment: ``aiplatform.init`` does nothing.
WITHOUT_INIT = """
import importlib.util
import sys

class WithoutInit:
    def find_spec(self, name, path=None, target=None):
        if name != "google.cloud.aiplatform":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def execute_without_init(module):
            execute(module)
            module.init = lambda *args, **kwargs: None
        spec.loader.exec_module = execute_without_init
        return spec

sys.meta_path.insert(0, WithoutInit())
"""

PIPELINE = """
from kedro.pipeline import Pipeline, node

def trivial():
    return 1

def create_pipeline(**_kwargs):
    return Pipeline([node(trivial, None, "one", name="trivial")])
"""

# The first half a chain, the second half fans out from its end, the last node joins them all.
SHAPE = """
from kedro.pipeline import Pipeline, node

COUNT = {count}

def one(*inputs):
    return 1

def create_pipeline(**_kwargs):
    half = COUNT // 2
    chain = [node(one, f"d{{i - 1}}" if i else None, f"d{{i}}", name=f"n{{i}}") for i in range(half)]
    fan = [node(one, f"d{{half - 1}}", f"d{{i}}", name=f"n{{i}}") for i in range(half, COUNT - 1)]
    ends = [f"d{{i}}" for i in range(half, COUNT - 1)]
    return Pipeline([*chain, *fan, node(one, ends, None, name=f"n{{COUNT - 1}}")])
"""


# Nodes, imports and datasets of the size of Kedro's tutorial project, spaceflights: nine nodes, so eleven tasks.
SPACEFLIGHTS = """
from kedro.pipeline import Pipeline, node
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

FEATURES = ["engines", "passenger_capacity", "crew", "company_rating", "review_score"]

def preprocess_companies(companies):
    return companies.assign(company_rating=companies["company_rating"].str.rstrip("%").astype(float) / 100)

def preprocess_shuttles(shuttles):
    return shuttles.assign(price=shuttles["price"].str.replace("[$,]", "", regex=True).astype(float))

def create_model_input_table(shuttles, companies, reviews):
    rated = shuttles.merge(reviews, left_on="id", right_on="shuttle_id").drop(columns="id")
    return rated.merge(companies, left_on="company_id", right_on="id").dropna()

def split_data(table):
    return train_test_split(table[FEATURES], table["price"], test_size=0.2, random_state=3)

def train_model(x, y):
    return LinearRegression().fit(x, y)

def evaluate_model(regressor, x, y):
    return float(r2_score(y, regressor.predict(x)))

def compare_passenger_capacity(shuttles):
    return shuttles.groupby("shuttle_type")["passenger_capacity"].mean().reset_index()

def plot_passenger_capacity(shuttles):
    figure = Figure()
    compare_passenger_capacity(shuttles).plot.bar(x="shuttle_type", ax=figure.subplots())
    return figure

def plot_prices(table):
    figure = Figure()
    figure.subplots().hist(table["price"], bins=20)
    return figure

def create_pipeline(**_kwargs):
    return Pipeline([
        node(preprocess_companies, "companies", "preprocessed_companies"),
        node(preprocess_shuttles, "shuttles", "preprocessed_shuttles"),
        node(create_model_input_table, ["preprocessed_shuttles", "preprocessed_companies", "reviews"], "model_input"),
        node(split_data, "model_input", ["x_train", "x_test", "y_train", "y_test"]),
        node(train_model, ["x_train", "y_train"], "regressor"),
        node(evaluate_model, ["regressor", "x_test", "y_test"], "r2"),
        node(compare_passenger_capacity, "preprocessed_shuttles", "capacities"),
        node(plot_passenger_capacity, "preprocessed_shuttles", "capacity_plot"),
        node(plot_prices, "model_input", "price_plot"),
    ])
"""
SPACEFLIGHTS_CATALOG = {
    **{
        name: {"type": "pandas.CSVDataset", "filepath": f"data/01_raw/{name}.csv"}
        for name in ("companies", "shuttles", "reviews")
    },
    **{
        name: {"type": "pandas.ParquetDataset", "filepath": f"data/03_primary/{name}.parquet"}
        for name in ("preprocessed_companies", "preprocessed_shuttles", "model_input")
    },
    "regressor": {"type": "pickle.PickleDataset", "filepath": "data/06_models/regressor.pickle"},
    "r2": {"type": "kedro_mlflow.io.metrics.MlflowMetricDataset"},
    "capacities": {"type": "pandas.CSVDataset", "filepath": "data/08_reporting/capacities.csv"},
    **{
        name: {"type": "matplotlib.MatplotlibDataset", "filepath": f"data/08_reporting/{name}.png"}
        for name in ("capacity_plot", "price_plot")
    },
}  # fmt: skip

# Four steps that hold what the example's steps have imported until they are told to go on.
WAITING = """
import os
import time
from pathlib import Path

from kedro.pipeline import Pipeline, node

def waiting(number):
    def wait():
        Path(f"waiting-{number}").write_text(str(os.getpid()))
        while not Path("go-on").exists():
            time.sleep(0.05)
        return number
    return node(wait, None, f"waited_{number}", name=f"waiting_{number}")

def create_pipeline(**_kwargs):
    return Pipeline([waiting(number) for number in range(4)])
"""


def bake(folder: Path, name: str = "Bench", example: bool = False) -> Path:
    """A new project, with or without the example."""
    answers = [f"example={'yes' if example else 'no'}", f"project_name={name}"]
    command([str(BIN / "cookiecutter"), str(ROOT), "--no-input", "-o", str(folder), *answers], ROOT)
    return folder / name.lower()


def add_pipeline(project: Path, name: str, source: str) -> None:
    """Give a project a pipeline, the text of whose module this is."""
    package = project / "src" / project.name / "pipelines" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)


def spaceflights(folder: Path) -> Path:
    """A project of the size of Kedro's spaceflights, with data of its own."""
    project = bake(folder, "Spaceflights")
    add_pipeline(project, "spaceflights", SPACEFLIGHTS)
    (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(SPACEFLIGHTS_CATALOG))
    count, random = 20_000, np.random.default_rng(7)
    ids = np.arange(count)
    companies = {"id": ids, "company_rating": [f"{percent}%" for percent in random.integers(0, 101, count)]}
    shuttles = {
        "id": ids,
        "company_id": random.integers(0, count, count),
        "shuttle_type": random.choice(["Type V5", "Type F5", "Type V2"], count),
        **{name: random.integers(1, 9, count) for name in ("engines", "passenger_capacity", "crew")},
        "price": [f"${price:,}.0" for price in random.integers(1_000, 9_000, count)],
    }
    reviews = {"shuttle_id": ids, "review_score": random.integers(0, 101, count)}
    raw = project / "data/01_raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, columns in (("companies", companies), ("shuttles", shuttles), ("reviews", reviews)):
        pd.DataFrame(columns).to_csv(raw / f"{name}.csv", index=False)
    return project


def shape(package: Path, count: int) -> None:
    """Make a project's pipeline ``shaped`` one of that many nodes."""
    folder = package / "pipelines/shaped"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(SHAPE.format(count=count))


def peer_project() -> tuple[Path, dict[str, str]]:
    """A project with kedro-vertexai in an environment of its own, ``aiplatform.init`` doing nothing: there are no
    credentials here.

    Returns:
        The project, and the environment variables of its commands.
    """
    quiet = {"PYTHONPATH": str(PEER), "PATH": f"{PEER / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    python = PEER / ".venv/bin/python"
    if not python.exists():
        uv = str(BIN / "uv")
        command([uv, "venv", "-q", "--python", str(BIN / "python"), str(PEER / ".venv")], ROOT)
        packages = ["kedro-vertexai[mlflow]==1.0.0", "kedro==1.0.*", "kedro-datasets"]
        packages += ["sqlalchemy<2.1", "setuptools<81"]  # it does not start with newer ones
        command([uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *packages], ROOT)
    project = PEER / "peer"
    if not project.exists():
        new = ["kedro", "new", "--name", "peer", "--tools", "none", "--example", "no", "--telemetry", "no"]
        command(new, PEER, PATH=quiet["PATH"])
        package = project / "src/peer/pipelines/trivial"
        package.mkdir()
        (package / "__init__.py").write_text(PIPELINE)
        command(["kedro", "mlflow", "init"], project, PATH=quiet["PATH"])
        (project / "conf/base/vertexai.yml").write_text(
            "project_id: p\nregion: europe-west1\nrun_config:\n  image: x\n  root: bucket/root\n  experiment_name: e\n"
            "  schedules:\n    default_schedule:\n      cron_expression: '0 * * * *'\n"
        )
        (PEER / "sitecustomize.py").write_text(WITHOUT_INIT)
    return project, quiet
