"""A job whose parameters become objects by type hints has the MLflow params of `kedro run`, or is refused before it starts."""

import mlflow
import pytest
from running import BIN, run

pytestmark = pytest.mark.slow

TRAINING = """
from dataclasses import dataclass

from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel


class Model(BaseModel):
    depth: int
    rate: float = 0.1


@dataclass
class Split:
    share: float
    seed: int = 7


def fit(model: Model, split: Split):
    return model.depth * split.share


def tell(value, rate, seed, added):
    print("told", value, rate, seed, added)


def create_pipeline(**_kwargs):
    taken = ["fitted", "params:model.rate", "params:split.seed", "params:added"]
    return Pipeline([
        Node(fit, ["params:model", "params:split"], "fitted", name="fit"),
        Node(tell, taken, None, name="tell"),
    ])
"""
# Its parameter does not fit, which matters to nobody who runs the other pipeline.
OTHER = """
from dataclasses import dataclass

from kedro.pipeline import Node, Pipeline


@dataclass
class Other:
    n: int


def look(other: Other): ...


def create_pipeline(**_kwargs):
    return Pipeline([Node(look, "params:other", None, name="look")])
"""
HOOKS = """

from kedro.framework.hooks import hook_impl  # noqa: E402


class Adding:
    @hook_impl
    def after_catalog_created(self, catalog):
        catalog["params:added"] = "by a hook"


HOOKS = (Adding(),)
"""


def test_params_are_those_of_kedro_run_and_what_does_not_fit_is_refused(bake):
    project = bake(project_name="My Project", example="no")
    package = project / "src/my_project"
    for name, source in (("training", TRAINING), ("other", OTHER)):
        (package / "pipelines" / name).mkdir(parents=True)
        (package / "pipelines" / name / "__init__.py").write_text(source)
    (package / "settings.py").write_text((package / "settings.py").read_text() + HOOKS)
    (project / "conf/base/parameters.yml").write_text(
        "model: {depth: '3'}\nsplit: {share: 0.5}\nother: {n: 1, unknown: 2}\n"
    )
    for command in (["run", "--pipelines", "training"], ["vertexai", "run-local", "--pipeline", "training"]):
        done = run(BIN / "kedro", *command, cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("my_project").experiment_id
    local, plain = client.search_runs([experiment], order_by=["start_time DESC"])
    assert local.data.params == plain.data.params
    assert local.data.params["model"] == "depth=3 rate=0.1"
    (log,) = project.glob(".vertexai/*/tell/log.txt")
    assert "told 1.5 0.1 7 by a hook" in log.read_text()
    jobs = list(project.glob(".vertexai/*"))
    for pipeline in ("other", "training,other", "__default__"):
        done = run(BIN / "kedro", "vertexai", "run-local", "--pipeline", pipeline, cwd=project)
        assert done.returncode == 1, done.stdout
        assert f"do not accept these parameters of pipeline '{pipeline}':\n- Parameter 'other': " in done.stderr
        assert "unexpected keyword argument 'unknown'" in done.stderr
    assert list(project.glob(".vertexai/*")) == jobs
