"""A compiled spec whose tasks share no disk gives what ``run-local`` gives."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pyarrow
import pytest
from fakes.storage import Storage, cloud_storage
from own_disks import StepFailed, run_on_own_disks
from pipeline_runs import only_run, vertexai
from running import BIN, launcher_environment, run

from vertexai_mlflow.local.preloaded import Preloaded

pytestmark = pytest.mark.slow

SOURCE = """
from pathlib import Path

import gcsfs
from kedro.pipeline import Node, Pipeline


def make(salt):
    Path("data/left.txt").touch()
    return {"salt": salt, "numbers": list(range(1000))}, 0.5


def double(made, score, seed):
    print("LEFT BY THE OTHER STEP:", Path("data/left.txt").exists())
    return [number * 2 for number in made["numbers"]] + [made["salt"], score, seed]


def check(doubled):
    if doubled[-3] == "wrong":
        raise ValueError("planted")


def create_pipeline(**_kwargs):
    return Pipeline(
        [
            Node(make, "params:salt", ["made", "score"], name="make"),
            Node(double, ["made", "score", "seed"], "doubled", name="double"),
            Node(check, "doubled", None, name="check"),
        ]
    )
"""


@pytest.fixture
def project(with_pipeline) -> Path:
    project = with_pipeline(SOURCE)
    (project / "conf/base/parameters.yml").write_text("salt: plain\n")
    (project / "conf/base/catalog.yml").write_text("seed: {type: json.JSONDataset, filepath: data/01_raw/seed.json}\n")
    (project / "data/01_raw").mkdir(parents=True, exist_ok=True)
    (project / "data/01_raw/seed.json").write_text("7")
    return project


@pytest.fixture
def storage() -> Iterator[Storage]:
    with cloud_storage() as storage:
        yield storage


@pytest.fixture
def preloaded(project, storage, tmp_path) -> Iterator[Preloaded]:
    preloaded = Preloaded(project, tmp_path / "preloaded.json", launcher_environment(**storage.environment))
    assert preloaded.why_not == ""
    yield preloaded
    preloaded.close()


def compiled(project: Path) -> dict:
    done = run(BIN / "kedro", "vertexai", "compile", cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads((project / "pipeline.json").read_text())


def unpacked(content: bytes) -> object:
    return pickle.load(pyarrow.CompressedInputStream(pyarrow.py_buffer(bytes(content)), "zstd"))


def run_of(project: Path):
    """The MLflow run of a job on disks of its own."""
    client = mlflow.MlflowClient(f"sqlite:///{project.parent}/own-disks/job-1/mlflow.db")
    (mlflow_run,) = client.search_runs([client.get_experiment_by_name("test_project").experiment_id])
    return mlflow_run


def test_steps_hand_on_through_cloud_storage_what_run_local_hands_on_through_the_disk(project, storage, preloaded):
    results = run_on_own_disks(
        compiled(project), project, "gs://bucket/root", preloaded, in_image=["data/01_raw/seed.json"],
        parameters={"params": {"salt": "it's $(salt)"}}, **storage.environment,
    )  # fmt: skip
    assert list(results) == ["mlflow-start-run", "make", "double", "check", "mlflow-finish-run"]
    assert not (project / "mlflow.db").exists()
    log = project.parent / "own-disks/job-1/logs/double.txt"
    assert "LEFT BY THE OTHER STEP: False" in log.read_text()
    kept = {name.removeprefix("bucket/root/job-1/"): unpacked(content) for name, content in storage.objects.items()}
    done = vertexai(project, "run-local", "-p", "under_test", "--params", "salt=it's $(salt)")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = project.glob(".vertexai/test-project-*")
    local = {str(path.relative_to(folder)): pickle.loads(path.read_bytes()) for path in folder.rglob("data_*")}
    assert kept == local
    assert local["double/data_doubled"][-3:] == ["it's $(salt)", 0.5, 7]
    on_own_disks, as_local = run_of(project), only_run(project)
    assert (on_own_disks.info.status, on_own_disks.data.params) == ("FINISHED", as_local.data.params)


def test_a_failed_step_is_told_of_with_its_log_and_the_exit_task_runs(project, storage, preloaded):
    with pytest.raises(StepFailed, match="ValueError: planted") as failed:
        run_on_own_disks(
            compiled(project), project, "gs://bucket/root", preloaded, in_image=["data/01_raw"],
            parameters={"params": {"salt": "wrong"}}, **storage.environment,
        )  # fmt: skip
    assert failed.value.task == "check"
    assert list(failed.value.results) == ["mlflow-start-run", "make", "double", "mlflow-finish-run"]
    assert run_of(project).info.status == "FAILED"


def test_data_that_is_not_said_to_be_in_the_image_is_missing(project, storage, preloaded):
    with pytest.raises(StepFailed, match="No such file") as failed:
        run_on_own_disks(compiled(project), project, "gs://bucket/root", preloaded, **storage.environment)
    assert failed.value.task == "double"


MLFLOW = """
from kedro.pipeline import Node, Pipeline
from sklearn.dummy import DummyRegressor


def train():
    model = DummyRegressor(strategy="constant", constant=4.0).fit([[1], [2]], [4.0, 4.0])
    return model, 0.5, {"acc": {"value": 0.25, "step": 1}}, [1, 2, 3]


def use(model, loss, scores, table):
    print("USE", float(model.predict([[9]])[0]), loss, scores, table)
    return 1


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(train, None, ["regressor", "loss", "scores", "table"], name="train"),
        Node(use, ["regressor", "loss", "scores", "table"], "end", name="use"),
    ])
"""
MLFLOW_CATALOG = """
regressor:
  type: kedro_mlflow.io.models.MlflowModelTrackingDataset
  flavor: mlflow.sklearn
  save_args: {name: regressor, pip_requirements: [scikit-learn]}
loss: {type: kedro_mlflow.io.metrics.MlflowMetricDataset, key: loss}
scores: {type: kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset}
table:
  type: kedro_mlflow.io.artifacts.MlflowArtifactDataset
  dataset: {type: json.JSONDataset, filepath: data/table.json}
"""


def test_what_kedro_mlflow_keeps_is_taken_by_the_next_step(with_pipeline, storage):
    project = with_pipeline(MLFLOW)
    (project / "conf/base/catalog.yml").write_text(MLFLOW_CATALOG)
    done = vertexai(project, "run-local")
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = project.glob(".vertexai/*/use/log.txt")
    assert "USE 4.0 0.5 {'scores.acc': {'step': 1, 'value': 0.25}} [1, 2, 3]" in log.read_text()
    run_on_own_disks(compiled(project), project, "gs://bucket/root", **storage.environment)
    log = project.parent / "own-disks/job-1/logs/use.txt"
    assert "USE 4.0 0.5 {'scores.acc': {'step': 1, 'value': 0.25}} [1, 2, 3]" in log.read_text()
    assert storage.objects.keys() == {name for name in storage.objects if name.endswith("/table.json")}


VERSIONED = """
from kedro.pipeline import Node, Pipeline


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(lambda: [1], None, "one", name="make"),
        Node(lambda one: one + [2], "one", "two", name="add"),
        Node(lambda one, two: print("SAW", one, two) or 1, ["one", "two"], "end", name="look"),
    ])
"""


def test_all_steps_of_a_job_save_and_load_one_version(with_pipeline, storage):
    project = with_pipeline(VERSIONED)
    entry = "{{type: json.JSONDataset, filepath: data/{0}.json, versioned: true}}"
    (project / "conf/base/catalog.yml").write_text(f"one: {entry.format('one')}\ntwo: {entry.format('two')}\n")
    for _ in range(2):
        assert vertexai(project, "run-local").returncode == 0
    versions = {
        name: sorted(path.name for path in (project / f"data/{name}.json").iterdir()) for name in ("one", "two")
    }
    assert versions["one"] == versions["two"]
    assert len(versions["one"]) == 2
    run_on_own_disks(compiled(project), project, "gs://bucket/root", **storage.environment)
    assert "SAW [1] [1, 2]" in (project.parent / "own-disks/job-1/logs/look.txt").read_text()
    carried = {name.rsplit("/data_")[-1].split("/", 2)[2] for name in storage.objects}
    assert carried == {f"{name}.json/2026-01-01T00.00.00.000Z-4711/{name}.json" for name in ("one", "two")}


CONFIRMS = """
from kedro.pipeline import Node, Pipeline


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(sorted, "events", "seen", name="read"),
        Node(print, "seen", None, name="publish", confirms="events"),
    ])
"""
FACTORY = """
from kedro.pipeline import Node, Pipeline
from kedro_mlflow.pipeline import pipeline_ml_factory


def create_pipeline(**_kwargs):
    whole = Pipeline([
        Node(max, "numbers", "scale", name="scale_of", tags=["training"]),
        Node(lambda numbers, scale: [n / scale for n in numbers], ["numbers", "scale"], "scaled", name="apply", tags=["training", "inference"]),
    ])
    return pipeline_ml_factory(
        training=whole.only_nodes_with_tags("training"), inference=whole.only_nodes_with_tags("inference"),
        input_name="numbers", log_model_kwargs={"name": "served", "pip_requirements": ["scikit-learn"]},
    )
"""


@pytest.mark.parametrize(
    ("source", "catalog", "arguments", "sentence"),
    [
        (
            CONFIRMS, "events: {type: partitions.IncrementalDataset, path: data/events, dataset: json.JSONDataset}\n", [],
            "Node 'publish' confirms dataset 'events', which node 'read' reads in another step.",
        ),
        (
            FACTORY, "numbers: {type: json.JSONDataset, filepath: data/n.json}\nscale: {type: pickle.PickleDataset, filepath: data/s.pkl}\n",
            ["-p", "under_test"], "Pipeline 'under_test' is made by kedro-mlflow's pipeline_ml_factory",
        ),
    ],
)  # fmt: skip
def test_what_only_one_process_can_do_is_refused_when_compiling(with_pipeline, source, catalog, arguments, sentence):
    project = with_pipeline(source)
    (project / "conf/base/catalog.yml").write_text(catalog)
    done = vertexai(project, "compile", *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_version_that_is_asked_for_is_loaded(with_pipeline):
    source = """
from kedro.pipeline import Node, Pipeline


def create_pipeline(**_kwargs):
    return Pipeline([Node(lambda raw: print("SAW", raw) or 1, "raw", "end", name="look")])
"""
    project = with_pipeline(source)
    (project / "conf/base/catalog.yml").write_text(
        "raw: {type: json.JSONDataset, filepath: data/raw.json, versioned: true}\n"
    )
    for version in ("2026-01-01T00.00.00.000Z", "2026-02-01T00.00.00.000Z"):
        file = project / f"data/raw.json/{version}/raw.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(version))
    for asked, seen in (([], "2026-02"), (["--load-versions", "raw:2026-01-01T00.00.00.000Z"], "2026-01")):
        done = vertexai(project, "run-local", *asked)
        assert done.returncode == 0, done.stdout + done.stderr
        log = max(project.glob(".vertexai/*/look/log.txt"), key=lambda path: path.stat().st_mtime_ns)
        assert f"SAW {seen}" in log.read_text()
