"""The registry and its gate against MLflow's own store: sqlite in this process, and a real server."""

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException
from mlflow_server import mlflow_server

from vertexai_mlflow.contract import names
from vertexai_mlflow.contract.job import JobIdentity
from vertexai_mlflow.contract.places import sha256_of_model
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.tracking.registry import Model, register, versions_of

pytestmark = pytest.mark.slow

NUMBERS = itertools.count(1)
AT_LEAST = {"metric": "f1", "min": 0.8, "not_worse_than": "champion"}


@pytest.fixture(scope="module", params=["sqlite", "server"])
def store(request, tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        mlflow.set_tracking_uri(f"sqlite:///{folder}/store.db")
        mlflow.create_experiment("demo", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("demo")
        yield folder
    else:
        with mlflow_server(Path(sys.executable).with_name("mlflow"), folder, os.environ) as url:
            mlflow.set_tracking_uri(url)
            mlflow.set_experiment("demo")
            yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture
def registry(store) -> Callable[..., dict]:
    """``run_config.registry`` with a registered model of the test's own."""
    name = f"model {next(NUMBERS)}"
    return lambda gate=None: {"model": "forest", "name": name, **({"gate": gate} if gate else {})}


def logged(folder: Path, text: str) -> Model:
    """A model with these bytes, as a step records it."""
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "model.bin").write_text(text)
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name("demo").experiment_id
    model = client.create_logged_model(experiment, "forest")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    return Model(f"models:/{model.model_id}", sha256_of_model(folder), "train")


@pytest.fixture
def job(store, tmp_path) -> Callable[..., JobIdentity]:
    """Make a job that runs: its run has these metrics, tags and a model."""

    def make(metrics: dict[str, float] | None = None, model: Model | None = None, **tags: str) -> JobIdentity:
        number = next(NUMBERS)
        job = JobIdentity(f"demo-{number}", resource_name=f"file:///jobs/demo-{number}")
        model = model or logged(tmp_path / str(number), f"forest {number}")
        tags = {names.JOB_NAME_TAG: job.name, names.JOB_URL_TAG: job.url, **model.as_tag("forest"), **tags}
        client = MlflowClient()
        run = client.create_run(mlflow.get_experiment_by_name("demo").experiment_id, tags=tags)
        for name, value in (metrics or {}).items():
            client.log_metric(run.info.run_id, name, value)
        return job

    return make


def alias(registry: dict, name: str) -> str:
    aliases = MlflowClient().get_registered_model(registry["name"]).aliases
    return str(aliases.get(name, ""))


def test_the_first_version_that_passes_the_gate_is_the_champion(job, registry):
    first = job({"f1": 0.9}, **{"mlflow.source.git.commit": "abc", names.IMAGE_TAG: "image@sha256:1"})
    with mlflow.start_run(run_id=run_of(first).info.run_id):
        mlflow.log_input(MetaDataset(CodeDatasetSource({}), name="sales@pandas", digest="1234"))
    config = registry(AT_LEAST)
    text = register(first, config)
    assert text == (
        f"{config['name']} version 1, gate passed: f1 0.9 is at least 0.8, and no version has the alias champion yet, "
        "champion"
    )
    assert (alias(config, "candidate"), alias(config, "champion")) == ("1", "1")
    (version,) = versions_of(config["name"])
    assert version.run_id == run_of(first).info.run_id
    assert {
        key: version.tags[key] for key in (names.JOB_NAME_TAG, names.IMAGE_TAG, "commit", "data.sales_pandas")
    } == {
        names.JOB_NAME_TAG: first.name, names.IMAGE_TAG: "image@sha256:1", "commit": "abc", "data.sales_pandas": "1234"
    }  # fmt: skip
    folder = mlflow.artifacts.download_artifacts(f"models:/{config['name']}/1")
    assert sha256_of_model(folder) == version.tags["sha256"]
    assert run_of(first).data.tags[names.REGISTRY_TAG] == text


def run_of(job: JobIdentity):
    (run,) = mlflow.search_runs(
        filter_string=f"tags.{names.JOB_NAME_TAG} = '{job.name}'", output_format="list", search_all_experiments=True
    )
    return run


@pytest.mark.parametrize(
    ("metrics", "gate", "champion", "reason"),
    [
        pytest.param({"f1": 0.95}, AT_LEAST, "2", "not worse than 0.9 of version 1 (champion)", id="better"),
        pytest.param({"f1": 0.9}, AT_LEAST, "2", "not worse than 0.9 of version 1 (champion)", id="a tie"),
        pytest.param({"f1": 0.85}, AT_LEAST, "1", "but worse than 0.9 of version 1 (champion)", id="worse"),
        pytest.param({"f1": 0.7}, AT_LEAST, "1", "f1 0.7 is not at least 0.8", id="below the bound"),
        pytest.param({"loss": 1.0}, AT_LEAST, "1", "no number as metric f1 (it has: loss)", id="metric missing"),
        pytest.param({"f1": float("nan")}, AT_LEAST, "1", "no number as metric f1", id="not a number"),
        pytest.param(
            {"loss": 0.1}, {"metric": "loss", "max": 0.2, "not_worse_than": "champion"}, "1",
            "version 1 (champion) has no number as metric loss", id="the champion has no such metric",
        ),
        pytest.param({"loss": 0.2}, {"metric": "loss", "max": 0.2}, "2", "loss 0.2 is at most 0.2", id="lower"),
        pytest.param({"f1": 0.1}, {"metric": "f1", "min": 0.0, "not_worse_than": "best"}, "2", "alias best yet", id="no such alias"),
        pytest.param({"f1": 0.99}, None, "1", "version 2", id="no gate"),
    ],
)  # fmt: skip
def test_the_gate_moves_the_champion_or_says_why_not(job, registry, metrics, gate, champion, reason):
    config = registry(gate)
    register(job({"f1": 0.9}), registry(AT_LEAST))
    text = register(job(metrics), config)
    assert reason in text
    assert (alias(config, "champion"), alias(config, "candidate")) == (champion, "2")


def test_a_retried_task_makes_no_second_version_and_takes_nothing_back(job, registry):
    config = registry(AT_LEAST)
    first, second = job({"f1": 0.9}), job({"f1": 0.95})
    text = register(first, config)
    assert register(first, config) == text
    register(second, config)
    register(first, config)
    assert len(list(versions_of(config["name"]))) == 2
    assert (alias(config, "champion"), alias(config, "candidate")) == ("2", "2")


def test_a_task_that_was_killed_after_its_verdict_goes_on_from_there(job, registry):
    config = registry(AT_LEAST)
    first = job({"f1": 0.9})
    register(first, config)
    MlflowClient().delete_registered_model_alias(config["name"], "champion")
    MlflowClient().delete_model_version_tag(config["name"], "1", names.CROWNED_TAG)
    register(first, config)
    assert alias(config, "champion") == "1"


def test_a_champion_that_was_rolled_back_stays_so(job, registry):
    config = registry(AT_LEAST)
    jobs = [job({"f1": value}) for value in (0.9, 0.95)]
    for each in jobs:
        register(each, config)
    assert alias(config, "champion") == "2"
    MlflowClient().set_registered_model_alias(config["name"], "champion", "1")
    register(jobs[1], config)
    assert alias(config, "champion") == "1"


def test_a_registry_that_does_not_answer_is_not_one_without_a_champion(job, registry, monkeypatch):
    config, first = registry(AT_LEAST), job({"f1": 0.9})

    def fail(*_arguments: object) -> None:
        raise MlflowException("the database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_model_version_by_alias", fail)
        with pytest.raises(MlflowException, match="locked"):
            register(first, config)
    assert alias(config, "champion") == ""
    register(first, config)
    assert alias(config, "champion") == "1"


def test_a_champion_that_somebody_has_chosen_in_the_meantime_stays(job, registry):
    config = registry(AT_LEAST)
    jobs = [job({"f1": value}) for value in (0.9, 0.85, 0.95)]
    for each in jobs:
        register(each, config)
    MlflowClient().set_registered_model_alias(config["name"], "champion", "2")
    assert "champion is version 2, which was registered or chosen in the meantime" in register(jobs[2], config)
    assert alias(config, "champion") == "2"


def test_of_two_jobs_at_once_the_better_one_is_the_champion(job, registry):
    config = registry(AT_LEAST)
    register(job({"f1": 0.81}), config)
    jobs = [job({"f1": value}) for value in (0.95, 0.9, 0.85)]
    errors: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def run(each: JobIdentity) -> None:
        start.wait()
        try:
            register(each, config)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    versions = {version.tags[names.JOB_NAME_TAG]: str(version.version) for version in versions_of(config["name"])}
    assert len(versions) == 4
    assert alias(config, "champion") == versions[jobs[0].name]


def test_a_resumed_job_registers_the_model_of_the_job_that_it_resumes(job, registry):
    config = registry()
    failed = job()
    resumed = JobIdentity(f"demo-{next(NUMBERS)}", resource_name="file:///jobs/x")
    resumed = JobIdentity(resumed.name, resource_name=f"file:///jobs/{resumed.name}")
    MlflowClient().create_run(
        mlflow.get_experiment_by_name("demo").experiment_id,
        tags={names.JOB_NAME_TAG: resumed.name, names.JOB_URL_TAG: resumed.url, "reused.train": failed.name},
    )
    assert register(resumed, config) == f"{config['name']} version 1"
    (version,) = versions_of(config["name"])
    assert version.tags[names.JOB_NAME_TAG] == resumed.name
    register(resumed, config)
    assert len(list(versions_of(config["name"]))) == 1


def test_a_job_without_a_model_makes_no_version(job, registry):
    config = registry(AT_LEAST)
    other = {**config, "model": "other"}
    assert "no step of this job has logged the model 'other'" in register(job({"f1": 1.0}), other)
    assert list(versions_of(config["name"])) == []


def test_a_model_that_was_replaced_becomes_no_version(job, registry, tmp_path):
    config = registry(AT_LEAST)
    model = logged(tmp_path / "model", "forest")
    (tmp_path / "model/model.bin").write_text("somebody else's")
    MlflowClient().log_model_artifacts(model.uri.removeprefix("models:/"), str(tmp_path / "model"))
    with pytest.raises(UserError, match="does not match its recorded SHA-256"):
        register(job({"f1": 1.0}, model), config)
    assert list(versions_of(config["name"])) == []


def test_a_downloaded_version_still_has_the_hash_of_its_model(job, registry):
    """MLflow writes a file into the model's own folder, where the store is on this machine."""
    config = registry()
    first = job()
    register(first, config)
    mlflow.artifacts.download_artifacts(f"models:/{config['name']}/1")
    register(first, config)
    (version,) = versions_of(config["name"])
    folder = mlflow.artifacts.download_artifacts(version.tags[names.MODEL_URI_TAG])
    assert sha256_of_model(folder) == version.tags["sha256"]
