"""doctor's task: on Vertex AI in five states, and on this machine."""

import json
import subprocess
from collections.abc import Callable

import mlflow
import pytest
from fakes.google_identity import AMBIENT
from fakes.storage import cloud_storage
from running import BIN, commit, run
from small_cloud import ACCOUNT, answers

pytestmark = pytest.mark.slow

Doctor = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def storage(vertex):
    with cloud_storage() as storage:
        vertex.own_disks = True
        environment = storage.on_vertex
        vertex.environment = {**vertex.environment, **environment}
        yield storage


@pytest.fixture
def doctor(bake, launchable, iap, google, vertex) -> Doctor:
    project = launchable(bake(**answers(iap)))
    vertex.environment = {**vertex.environment, "IMAGE_REVISION": commit(project)}

    def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["vertexai", "-e", "cloud", "doctor", *arguments]
        return run(BIN / "kedro", *argv, cwd=project, **google.environment)

    return doctor


def lines(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    return {line["name"]: line for line in json.loads(done.stdout)}


def wrong(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {name: line["message"] for name, line in lines(done).items() if not line["ok"]}


def test_with_everything_in_place_all_lines_are_well_and_the_job_is_deleted(doctor, vertex, storage, iap):
    done = doctor("--on-vertex", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = lines(done)
    assert list(checks) == [
        "started", "user", "placeholders", "mount", "access token", "bucket", "ID token", "MLflow", "image",
    ]  # fmt: skip
    assert checks["started"]["message"].endswith(" s after the job was created")
    assert "output_file /gcs/bucket/test-project/" in checks["placeholders"]["message"]
    assert f"job_resource_name {vertex.parent}/pipelineJobs/test-project-doctor-" in checks["placeholders"]["message"]
    assert checks["ID token"]["message"] == "obtained; sent to MLflow in the header Authorization"
    assert checks["MLflow"]["message"] == (
        f"{iap.url} accepts runs, metrics, files and models; a deleted run with doctor.txt remains"
    )
    assert (vertex.jobs, iap.refused) == ({}, [])
    assert not [name for name in storage.objects if "probe" in name]  # nothing is left of its trials


def test_the_job_has_the_settings_of_a_launch_and_is_left_if_asked(doctor, vertex, storage):
    assert doctor("--on-vertex", "--keep").returncode == 0
    (job,) = vertex.jobs.values()
    assert (job["state"], job["serviceAccount"]) == ("PIPELINE_STATE_SUCCEEDED", ACCOUNT)
    (executor,) = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert executor["container"]["image"].endswith("/project-42/images/test-project:latest")
    assert job["labels"]["kedro_pipeline"] == "doctor"


def no_id_token(google, storage, vertex):
    google.granted = False


def mlflow_refuses(google, storage, vertex):
    google.audience = "another-client"


def no_delete(google, storage, vertex):
    storage.denied.add("storage.objects.delete")


def another_commit(google, storage, vertex):
    vertex.environment = {**vertex.environment, "IMAGE_REVISION": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (no_id_token, {
            "ID token": f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}.",
            "MLflow": f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}.",
        }),
        (mlflow_refuses, {"MLflow": "If the resource has an OAuth client of its own, client_id must be that client's."}),
        (no_delete, {"bucket": f"Grant {AMBIENT} roles/storage.objectUser on the bucket: it lacks storage.objects.delete."}),
        (another_commit, {"image": "The image was built from commit 0123456789ab, this is"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_is_wrong_inside_is_found_with_its_cure(doctor, google, storage, vertex, state, expected):
    state(google, storage, vertex)
    done = doctor("--on-vertex", "--format", "json")
    assert done.returncode == 1, done.stdout + done.stderr
    failures = wrong(done)
    assert set(failures) == set(expected)
    for name, message in expected.items():
        assert message in failures[name]
    assert "ambient-access-token" not in done.stdout + done.stderr


def test_a_server_that_refuses_models_is_found_before_a_training(doctor, iap):
    iap.answers["/api/2.0/mlflow/logged-models"] = (404, "<!doctype html><title>404 Not Found</title>")
    assert "logged-models failed with error code 404" in wrong(doctor("--in-process", "--format", "json"))["MLflow"]
    iap.answers["/version"] = (200, "2.22.2")
    assert "has version 2.22.2, and this project" in wrong(doctor("--in-process", "--format", "json"))["MLflow"]


def test_a_server_that_takes_no_large_files_is_a_warning(doctor, iap, mlflow_url):
    iap.largest_body = 32 * 2**20
    done = doctor("--in-process", "--format", "json")
    result = lines(done)["MLflow"]
    assert (done.returncode, result["ok"], result["doubtful"]) == (0, True, True)
    assert "refuses a file of 33 MiB in one request" in result["message"]
    assert "--no-serve-artifacts" in result["message"]
    iap.largest_body = float("inf")
    result = lines(doctor("--in-process", "--format", "json"))["MLflow"]
    assert not result["doubtful"]
    client = mlflow.MlflowClient(mlflow_url)
    experiments = [item.experiment_id for item in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.mlflow.runName = 'doctor'", mlflow.entities.ViewType.DELETED_ONLY)
    assert len(runs) >= 2
    assert {item.path for run in runs for item in client.list_artifacts(run.info.run_id)} == {"doctor.txt"}


def test_a_job_that_fails_before_its_task_says_what_to_grant(doctor, vertex):
    agent = "service-7@gcp-sa-aiplatform-cc.iam.gserviceaccount.com"
    vertex.setback = f"Vertex AI Service Agent {agent} does not have permission to access Artifact Registry repository"
    failures = wrong(doctor("--on-vertex", "--format", "json"))
    assert set(failures) == {"job"}
    assert f"--member=serviceAccount:{agent} --role=roles/artifactregistry.reader" in failures["job"]


def test_the_same_task_runs_in_a_process_of_this_machine(bake):
    project = bake()
    done = run(BIN / "kedro", "vertexai", "doctor", "--in-process", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    marks = {line[2:17].strip(): line[0] for line in done.stdout.splitlines()}
    assert marks == {
        "started": "✓", "user": "✓", "placeholders": "✓", "mount": "✓", "access token": "!", "bucket": "✓",
        "ID token": "✓", "MLflow": "✓", "image": "!",
    }  # fmt: skip
    wrong = run(BIN / "kedro", "vertexai", "doctor", "--in-process", "--offline", cwd=project)
    assert wrong.returncode == 2
