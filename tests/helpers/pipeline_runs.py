"""A project with a pipeline of a test's own, its commands, and the MLflow runs that they leave."""

import subprocess
from pathlib import Path

import mlflow
from mlflow.entities import Run
from running import BIN, run

PIPELINE = """
import os
import signal
from pathlib import Path

from kedro.pipeline import Node, Pipeline
{code}

def create_pipeline(**_kwargs):
    return Pipeline([{nodes}])
"""


def source(nodes: str, code: str) -> str:
    return PIPELINE.format(nodes=nodes, code=code)


def vertexai(project: Path, *arguments: str, cold: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
    return run(BIN / "kedro", "vertexai", *arguments, cwd=project, cold=cold, **extra)


def use_server(project: Path, url: str) -> None:
    config = project / "conf/base/mlflow.yml"
    config.write_text(config.read_text().replace("sqlite:///mlflow.db", url))


def runs(project: Path, uri: str | None = None) -> list[Run]:
    client = mlflow.MlflowClient(uri or f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("test_project")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def only_run(project: Path, uri: str | None = None) -> Run:
    (mlflow_run,) = runs(project, uri)
    return mlflow_run
