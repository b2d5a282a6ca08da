"""Kedro projects as people have them, written down file by file: each in the layout and with the idioms of its time."""

from pathlib import Path

from running import commit

SPACEFLIGHTS = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "spaceflights"
requires-python = ">=3.10"
readme = "README.md"
dynamic = ["version"]
# What the nodes import.
dependencies = [
    "ipython>=8.10",
    "jupyterlab>=3.0",
    "kedro[jupyter]~=1.0",  # the framework
    "kedro-datasets[pandas-csvdataset, pandas-parquetdataset]>=7.0",
    "kedro-viz>=6.7.0",
    "scikit-learn~=1.5",
]

[project.scripts]
"spaceflights" = "spaceflights.__main__:main"

[project.optional-dependencies]
dev = [
    "pytest~=7.2",
    "ruff~=0.1.8",
]

[tool.setuptools.dynamic]
version = {attr = "spaceflights.__version__"}

[tool.setuptools.packages.find]
where = ["src"]

[tool.kedro]
package_name = "spaceflights"
project_name = "Spaceflights"
kedro_init_version = "1.0.0"
tools = ['Linting', 'Testing']
example_pipeline = "True"
source_dir = "src"
""",
    "README.md": "# Spaceflights\n",
    ".gitignore": "conf/local/**\n!conf/local/.gitkeep\n.telemetry\nconf/**/*credentials*\n*.log\n__pycache__/\n",
    "conf/README.md": "# What is this for?\n",
    "conf/local/.gitkeep": "",
    "conf/logging.yml": "version: 1\ndisable_existing_loggers: False\n",
    "conf/base/catalog.yml": """\
# Raw data
companies:
  type: pandas.CSVDataset
  filepath: data/01_raw/companies.csv

shuttles:
  type: pandas.CSVDataset
  filepath: data/01_raw/shuttles.csv

model_input_table:
  type: pandas.ParquetDataset
  filepath: data/03_primary/model_input_table.parquet

regressor:
  type: pickle.PickleDataset
  filepath: data/06_models/regressor.pickle
  versioned: true
""",
    "conf/base/parameters_data_science.yml": "model_options:\n  test_size: 0.25\n  random_state: 3\n",
    "data/01_raw/companies.csv": "id,rating\n1,90\n2,80\n3,100\n4,70\n",
    "data/01_raw/shuttles.csv": "company,seats,price\n1,4,1400\n1,6,1600\n2,4,1300\n3,8,1800\n3,2,1200\n4,4,1250\n4,6,1500\n2,2,1150\n",
    "src/spaceflights/__init__.py": '"""Spaceflights"""\n\n__version__ = "0.1"\n',
    "src/spaceflights/settings.py": '"""Project settings."""\n\nCONFIG_LOADER_ARGS = {\n    "base_env": "base",\n    "default_run_env": "local",\n    # "config_patterns": {},\n}\n',
    "src/spaceflights/pipeline_registry.py": """\
from kedro.framework.project import find_pipelines


def register_pipelines():
    pipelines = find_pipelines()
    pipelines["__default__"] = sum(pipelines.values())
    return pipelines
""",
    "src/spaceflights/pipelines/__init__.py": "",
    "src/spaceflights/pipelines/data_processing/__init__.py": "from .pipeline import create_pipeline  # NOQA\n",
    "src/spaceflights/pipelines/data_processing/pipeline.py": """\
from kedro.pipeline import Node, Pipeline


def join(companies, shuttles):
    return shuttles.merge(companies, left_on="company", right_on="id")


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline([Node(join, ["companies", "shuttles"], "model_input_table", name="create_model_input_table_node")])
""",
    "src/spaceflights/pipelines/data_science/__init__.py": "from .pipeline import create_pipeline  # NOQA\n",
    "src/spaceflights/pipelines/data_science/pipeline.py": """\
from kedro.pipeline import Node, Pipeline
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split


def split(table, options):
    features = table[["seats", "rating"]]
    return train_test_split(features, table["price"], **options)


def train(x_train, y_train):
    return LinearRegression().fit(x_train, y_train)


def evaluate(regressor, x_test, y_test):
    print("SCORE", regressor.score(x_test, y_test))


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(split, ["model_input_table", "params:model_options"], ["X_train", "X_test", "y_train", "y_test"], name="split_data_node"),
            Node(train, ["X_train", "y_train"], "regressor", name="train_model_node"),
            Node(evaluate, ["regressor", "X_test", "y_test"], None, name="evaluate_model_node"),
        ]
    )
""",
    "tests/__init__.py": "",
    "tests/test_run.py": "def test_nothing():\n    assert True\n",
}

# Kedro 0.18 and 0.19 side by side: requirements in a file of their own, old spellings, a module that has moved.
OLD = {
    "pyproject.toml": """\
[tool.kedro]
package_name = "churn"
project_name = "Customer Churn"
project_version = "0.18.12"

[tool.isort]
profile = "black"
""",
    "src/requirements.txt": """\
# Linters
black~=22.0
flake8>=3.7.9, <5.0
ipython>=7.31.1, <8.0
kedro[pandas.CSVDataSet]~=0.18.12  # the framework
kedro-datasets[json.JSONDataSet]~=1.5
kedro-telemetry~=0.2.5
kedro-viz~=6.0
-r more.txt
pandas>=2
""",
    "src/setup.py": "from setuptools import setup\n\nsetup(name='churn')\n",
    ".gitignore": "conf/local/**\ndata/**\n!data/01_raw/\n!data/01_raw/*\n",
    "Makefile": "test:\n\tpytest\n",
    "conf/base/logging.yml": "version: 1\n",
    "conf/base/catalog_raw.yml": """\
_csv: &csv
  type: pandas.CSVDataSet
  save_args:
    type: this word is not a dataset's

customers:   # from the shop
  <<: *csv
  filepath: data/01_raw/customers.csv
  layer: raw

scores:
  type: json.JSONDataSet
  filepath: data/02_intermediate/scores.json
  layer: intermediate
  metadata:
    owner: shop

parts:
  type: PartitionedDataSet
  path: data/02_intermediate/parts
  dataset: "json.JSONDataSet"
  filename_suffix: .json

own:
  type: churn.datasets.OwnDataSet
""",
    "conf/base/parameters.yml": "limit: 2\n",
    "data/01_raw/customers.csv": "name,orders\nada,3\nbob,1\n",
    "src/churn/__init__.py": '__version__ = "0.1"\n',
    "src/churn/settings.py": 'from churn.hooks import ProjectHooks\n\nHOOKS = (ProjectHooks(),)\nCONF_SOURCE = "conf"\n',
    "src/churn/hooks.py": """\
from kedro.framework.hooks import hook_impl


class ProjectHooks:
    @hook_impl
    def after_node_run(self, node, session_id):
        print("AFTER", node.name)
""",
    "src/churn/datasets.py": """\
from kedro.io import AbstractDataSet


class OwnDataSet(AbstractDataSet):
    def _load(self):
        return 1

    def _save(self, data):
        pass

    def _describe(self):
        return {}
""",
    "src/churn/pipeline_registry.py": """\
from churn.pipelines.scoring import create_pipeline


def register_pipelines():
    return {"__default__": create_pipeline()}
""",
    "src/churn/pipelines/__init__.py": "",
    "src/churn/pipelines/scoring.py": """\
from kedro.pipeline import node
from kedro.pipeline.modular_pipeline import pipeline


def score(customers, limit):
    return {row.name: bool(row.orders >= limit) for row in customers.set_index("name").itertuples(name=None) and customers.itertuples()}


def publish(scores):
    print("SCORES", scores)
    return {"a": scores}


def collect(parts):
    print("PARTS", sorted(parts))


def create_pipeline(**kwargs):
    return pipeline(
        pipe=[
            node(score, ["customers", "params:limit"], "scores", name="score customers"),
            node(publish, "scores", "parts", name="publish"),
            node(collect, "parts", None, name="collect"),
        ]
    )
""",
}

# A project that runs on Vertex AI already, by kedro-vertexai and with an MLflow server behind Identity-Aware Proxy.
PLUGIN = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "demand"
dynamic = ["dependencies", "version"]

[tool.setuptools.dynamic]
dependencies = {file = "requirements.txt"}
version = {attr = "demand.__version__"}

[tool.setuptools.packages.find]
where = ["src"]

[tool.kedro]
package_name = "demand"
project_name = "Demand"
kedro_init_version = "0.19.14"
""",
    "requirements.txt": "kedro~=0.19.14\nkedro-datasets[json-jsondataset]>=3\nkedro-mlflow~=0.13\nkedro-vertexai[mlflow]~=0.11\nkedro-docker\n",
    "Dockerfile": "FROM python:3.10-slim\nCOPY . .\n",
    ".dockerignore": "data\n!data/01_raw/seed.json\nsrc/private\n",
    ".gitlab-ci.yml": "test:\n  script: [pytest]\n",
    "conf/base/catalog.yml": "seed:\n  type: json.JSONDataset\n  filepath: data/01_raw/seed.json\n",
    "conf/base/parameters.yml": "growth: 2\n",
    "conf/base/vertexai.yml": """\
# Configuration used to run the pipeline
project_id: demand-prod-42
region: europe-west1
run_config:
  # Name of the image to run as the pipeline steps
  image: europe-west1-docker.pkg.dev/demand-prod-42/images/demand:latest
  image_pull_policy: Always
  root: demand-pipelines/root
  experiment_name: demand-experiment
  scheduled_run_name: demand
  service_account: pipelines@demand-prod-42.iam.gserviceaccount.com
  grouping:
    cls: kedro_vertexai.grouping.IdentityNodeGrouper
  # How long to keep the workflow
  ttl: 604800
  network:
    vpc: projects/42/global/networks/main
  resources:
    __default__:
      cpu: 1000m
      memory: 2048Mi
  dynamic_config_providers:
    - cls: kedro_vertexai.auth.gcp.MLFlowGoogleOAuthCredentialsProvider
      params:
        client_id: abc

  # The end
  schedules:
    default_schedule:
      cron_expression: "0 * * * *"
      timezone: Etc/UTC
      start_time: none
""",
    "conf/base/mlflow.yml": """\
server:
  mlflow_tracking_uri: sqlite:///mlflow.db
tracking:
  experiment:
    name: demand
""",
    "conf/prod/mlflow.yml": """\
server:
  mlflow_tracking_uri: https://mlflow.example.com
  request_header_provider:
    type: kedro_vertexai.auth.gcp.MLFlowGoogleIAMRequestHeaderProvider
    pass_context: True
    init_kwargs:
      client_id: 1234567890-abc123.apps.googleusercontent.com
      service_account: pipelines@demand-prod-42.iam.gserviceaccount.com
""",
    "data/01_raw/seed.json": "[1, 2, 3]\n",
    "src/demand/__init__.py": '__version__ = "0.1"\n',
    "src/demand/cli.py": '''\
"""Our own commands."""

import click


@click.group(name="demand")
def cli():
    """Commands of Demand."""


@cli.command()
def hello():
    """Say hello."""
    click.echo("hello")
''',
    "src/demand/settings.py": """\
from kedro.config import OmegaConfigLoader

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"spark": ["spark*"], "mlflow": ["mlflow*"]},
    "custom_resolvers": {"twice": lambda x: 2 * int(x)},
}
""",
    "src/demand/pipeline_registry.py": """\
from kedro.framework.project import find_pipelines


def register_pipelines():
    pipelines = find_pipelines()
    pipelines["__default__"] = sum(pipelines.values())
    return pipelines
""",
    "src/demand/pipelines/__init__.py": "",
    "src/demand/pipelines/forecast/__init__.py": """\
from kedro.pipeline import Pipeline, node


def grow(seed, growth):
    return [number * growth for number in seed]


def show(grown):
    print("GROWN", grown)


def create_pipeline(**kwargs):
    return Pipeline([node(grow, ["seed", "params:growth"], "grown", name="grow"), node(show, "grown", None, name="show")])
""",
}


def write(files: dict[str, str], folder: Path) -> Path:
    """Write a project and commit it."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    commit(folder)
    return folder
