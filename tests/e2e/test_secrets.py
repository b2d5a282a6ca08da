"""What is secret is not printed, and one job's MLflow run is not taken for another's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from running import BIN, run
from small_cloud import ACCOUNT, CLIENT_ID, REGISTRY, set_fact

from vertexai_mlflow import tracking
from vertexai_mlflow.contract.arguments import JobArguments
from vertexai_mlflow.contract.job import JobIdentity, PipelineJob, State
from vertexai_mlflow.errors import UserError

pytestmark = pytest.mark.slow

FACTS = {
    "gcp_project_id": "project-42", "gcp_region": "europe-west1", "gcp_bucket": "gs://bucket", "client_id": CLIENT_ID,
    "service_account": ACCOUNT, "artifact_registry": f"{REGISTRY}/project-42/images",
    "mlflow_tracking_uri": "https://mlflow.example.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An embedded MLflow store."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        yield
        mlflow.set_tracking_uri(None)


def vertex_job(name: str, project: str = "42", region: str = "europe-west1", id_: str = "1") -> JobIdentity:
    return JobIdentity(name, id_, f"projects/{project}/locations/{region}/pipelineJobs/{name}")


def as_seen_from_a_laptop(job: JobIdentity) -> PipelineJob:
    return PipelineJob(job.name, job.resource_name, State.SUCCEEDED, {})


def test_facts_prints_what_ci_needs_and_nothing_else(bake):
    project: Path = bake(**FACTS)
    for name, value in [
        ("database_password", "${oc.env:DB_PASSWORD}"), ("mlflow_tracking_uri", "https://user:s3cret@mlflow.example.com"), ("ci_service_account", "ci@x"), ("workload_identity_provider", "projects/1/x"),
    ]:  # fmt: skip
        set_fact(project, name, value)
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "facts", cwd=project, DB_PASSWORD="s3cret")
    assert done.returncode == 0, done.stderr
    names = [line.partition("=")[0] for line in done.stdout.splitlines()]
    assert sorted(names) == [
        "artifact_registry", "bucket", "ci_service_account", "image", "project_id", "region", "registry", "repository",
        "service_account", "vertexai_mlflow", "workload_identity_provider",
    ]  # fmt: skip
    assert "s3cret" not in done.stdout + done.stderr
    for broken in ("europe\rimage=evil", "europe\nimage=evil"):
        set_fact(project, "region", broken)
        done = run(BIN / "kedro", "vertexai", "-e", "cloud", "facts", cwd=project, DB_PASSWORD="s3cret")
        assert done.returncode == 1
        assert "globals.yml: region must be a single line" in done.stderr
        assert "evil" not in done.stdout


def test_two_environments_that_share_a_bucket_do_not_share_a_folder(bake):
    project: Path = bake(**FACTS)
    shutil.copytree(project / "conf/cloud", project / "conf/prod")
    roots = set()
    for how, env in ((["-e", "cloud"], ""), (["-e", "prod"], ""), ([], "prod")):
        variables = {"KEDRO_ENV": env} if env else {}
        done = run(BIN / "kedro", "vertexai", *how, "run-once", "--dry-run", cwd=project, **variables)
        assert done.returncode == 0, done.stderr
        roots.add(json.loads(done.stdout)["runtimeConfig"]["gcsOutputDirectory"])
    assert roots == {"gs://bucket/test-project/cloud", "gs://bucket/test-project/prod"}


def test_the_password_of_a_tracking_uri_is_not_shown(bake, tmp_path, monkeypatch):
    project = bake(**FACTS)
    server = project / "conf/cloud/mlflow.yml"
    server.write_text("server:\n  mlflow_tracking_uri: http://user:s3cret@127.0.0.1:9\n")
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "doctor", cwd=project)
    assert "127.0.0.1:9" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite://user:s3cret@/{tmp_path}/x.db")
    try:
        run_ = type("Run", (), {"info": type("Info", (), {"experiment_id": "1", "run_id": "2"})})
        assert "s3cret" not in tracking.run_url(run_)
        mlflow.set_tracking_uri("https://user:s3cret@mlflow.example.com/")
        page = "https://mlflow.example.com/#/experiments/1/runs/2?workflowType=machine_learning"
        assert tracking.run_url(run_) == page
    finally:
        mlflow.set_tracking_uri(None)


def start(job: JobIdentity) -> str:
    return tracking.start(job, JobArguments("mlflow-start-run", "p"), "2026-11-29T10:05:33+00:00", "Default", {})


def test_a_job_finds_its_own_run_and_no_other_jobs(store):
    """A name is unique in a project and region only, and two environments may share an MLflow experiment."""
    mine = vertex_job("ci-7-1", "42")
    others = [vertex_job("ci-7-1", "43", id_="2"), vertex_job("ci-7-1", "42", "us-central1", id_="3")]
    urls = [start(job) for job in (mine, *others)]
    assert len(set(urls)) == 3
    assert [start(job) for job in (mine, *others)] == urls  # a retry finds the same run
    for job, url in zip((mine, *others), urls, strict=True):
        assert tracking.runs_of([as_seen_from_a_laptop(job)])["ci-7-1"].url == url
    assert tracking.settle(JobIdentity(others[0].name, "", others[0].resource_name), "CANCELLED", "") == "KILLED"
    assert tracking.runs_of([as_seen_from_a_laptop(mine)])["ci-7-1"].status == "RUNNING"
    # Whether a project's id and its number mean one project cannot be told.
    assert tracking.runs_of([as_seen_from_a_laptop(vertex_job("ci-7-1", "project-42"))])
    assert not tracking.runs_of([as_seen_from_a_laptop(vertex_job("ci-7-1", "44"))])


@pytest.mark.parametrize(
    "name", ["x' OR tags.a != '", 'x" OR "', "x' AND attributes.status = 'RUNNING", "a b", "`x`", "a\0b", "../x"]
)
def test_a_jobs_name_cannot_leave_the_filter(store, name):
    start(vertex_job("somebody-elses", id_="9"))
    for job in (JobIdentity(name), JobIdentity("somebody-elses", name)):
        with pytest.raises(UserError, match=r"cannot be the name or number of a pipeline job"):
            tracking.finish(job, {"state": "SUCCEEDED"})
