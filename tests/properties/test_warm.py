"""Steps that are forked from a preloaded interpreter leave what steps leave that start as in a container."""

import json
import pickle
import shutil
from pathlib import Path

import hypothesis
import mlflow
import pytest
import yaml
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from running import BIN, environment, run

from vertexai_mlflow.contract.names import STEP_TAG
from vertexai_mlflow.local.preloaded import Preloaded
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

pytestmark = pytest.mark.slow

SOURCE = """
import json
import os
import random
import signal
from pathlib import Path

from kedro.pipeline import Node, Pipeline


def node(name, kind, inputs):
    def work(salt, *taken):
        attempt = Path(os.environ["ATTEMPTS"], name)
        attempt.write_text(attempt.read_text() + "x" if attempt.exists() else "x")
        if kind == "raises" or (kind == "raises once" and attempt.read_text() == "x"):
            raise ValueError(f"{name} was told to fail")
        if kind == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "exits":
            os._exit(7)
        return [name, salt, *taken], len(taken) + 0.5

    return Node(work, ["params:salt", *inputs], [name, f"{name}_score"], name=name)


def create_pipeline(**_kwargs):
    return Pipeline([node(*drawn) for drawn in json.loads(Path("graph.json").read_text())])
"""
KINDS = ["works", "works", "works", "raises", "raises once", "is killed", "exits"]
Drawn = list[tuple[str, str, list[str]]]


@st.composite
def drawn_nodes(draw: st.DrawFn) -> Drawn:
    """Two to four nodes, each of a kind, each taking what some of the earlier ones made."""
    nodes: Drawn = []
    for number in range(draw(st.integers(2, 4))):
        earlier = [name for name, _kind, _inputs in nodes]
        inputs = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        nodes.append((f"n{number}", draw(st.sampled_from(KINDS)), inputs))
    return nodes


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("warm") / "test-project"
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder)
    package = project / "src/test_project/pipelines/under_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    (project / "conf/base/parameters.yml").write_text("salt: 1\n")
    (project / "conf/base/catalog.yml").write_text(
        yaml.safe_dump({"{name}_score": {"type": "kedro_mlflow.io.metrics.MlflowMetricDataset", "key": "{name}_score"}})
    )
    retries = {"run_config": {"image": "x", "resources": {"__default__": {"retries": 1}}}}
    (project / "conf/base/vertexai.yml").write_text(yaml.safe_dump(retries))
    return project


def left_by(project: Path, spec: dict, preloaded: Preloaded | None) -> dict:
    """Run a spec; what the run has left: states, errors, attempts, artifacts, and the MLflow run."""
    attempts = project.parent / "attempts"
    shutil.rmtree(attempts, ignore_errors=True)
    attempts.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(ATTEMPTS=str(attempts), PYTHONPATH=str(project / "src")).items():
            patch.setenv(name, value)
        job = run_spec(spec, RunOptions(project / ".vertexai", project, max_workers=1, preloaded=preloaded))
    folder = project / ".vertexai" / job.name
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    (mlflow_run,) = client.search_runs(
        [client.get_experiment_by_name("test_project").experiment_id], f"tags.vertexai_job_name = '{job.name}'"
    )
    own = (
        "vertexai_",
        "run_id",
        "mlflow.runName",
        "mlflow.source",
        "mlflow.user",
        "kedro_command",
        "mlflow.log-model",
        "mlflow.note.content",
        STEP_TAG,
    )
    return {
        "state": job.state,
        "tasks": {name: (task.state, task.attempt, task.error) for name, task in job.tasks.items()},
        "attempts": {path.name: path.read_text() for path in attempts.iterdir()},
        "artifacts": {
            str(path.relative_to(folder)): pickle.loads(path.read_bytes()) for path in folder.rglob("data_*")
        },
        "status": mlflow_run.info.status,
        "params": mlflow_run.data.params,
        "metrics": mlflow_run.data.metrics,
        "tags": {name: value for name, value in mlflow_run.data.tags.items() if not name.startswith(own)},
    }


@examples(1)
@hypothesis.example(
    nodes=[("n0", "raises once", []), ("n1", "is killed", ["n0"]), ("n2", "works", ["n0"]), ("n3", "exits", [])]
)
@given(nodes=drawn_nodes())
def test_warm_and_cold_steps_leave_the_same(project, nodes):
    (project / "graph.json").write_text(json.dumps(nodes))
    compiled = run(BIN / "kedro", "vertexai", "compile", cwd=project)
    assert compiled.returncode == 0, compiled.stderr
    text = (project / "pipeline.json").read_text().replace('"10s"', '"0.1s"')
    spec = json.loads(text)
    cold = left_by(project, spec, None)
    preloaded = Preloaded(project, project.parent / "preloaded.json", environment())
    try:
        assert preloaded.why_not == ""
        warm = left_by(project, spec, preloaded)
    finally:
        preloaded.close()
    assert warm == cold
