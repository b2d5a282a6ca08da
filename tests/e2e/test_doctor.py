"""The checklist as its user reads it, against a small Google and a real MLflow behind a proxy."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from fakes.google_identity import AMBIENT
from running import BIN, run
from small_cloud import ACCOUNT, answers, configure

pytestmark = pytest.mark.slow

ACT_AS = "iam.serviceAccounts.actAs"


@pytest.fixture
def doctor(google):
    def doctor(project: Path, *arguments: str, env: str | None = "cloud") -> subprocess.CompletedProcess[str]:
        return run(
            BIN / "kedro", "vertexai", *(["-e", env] if env else []), "doctor", *arguments,
            cwd=project, **google.environment,
        )  # fmt: skip

    return doctor


def failed(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Name → what was said, of the checks that are not well."""
    return {check["name"]: check["said"] for check in json.loads(done.stdout) if not check["ok"]}


def test_a_fresh_project_is_well_here_and_says_what_the_cloud_lacks(bake, doctor):
    project = bake()
    here = doctor(project, env=None)
    assert here.returncode == 0, here.stdout + here.stderr
    lines = here.stdout.splitlines()
    assert len(lines) == 12
    assert all(line.startswith("✓ ") for line in lines)

    there = doctor(project)
    assert there.returncode == 1
    for key, placeholder in [("client_id", "<oauth-client-id>"), ("service_account", "<service-account-email>")]:
        assert (
            f"✗ filled in      conf/cloud/globals.yml: {key}: {placeholder} is still to be filled in." in there.stdout
        )
    assert "Google and MLflow have not been asked" in there.stderr


def test_with_everything_in_place_all_is_well(bake, launchable, doctor, cloud, iap, vertex):
    done = doctor(launchable(bake(**answers(iap))), "--format", "json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check["said"] for check in json.loads(done.stdout)}
    assert checks["identity"] == AMBIENT
    assert checks["bucket"] == f"{ACCOUNT} may read and write gs://bucket"
    assert checks["MLflow"] == f"{iap.url} answers"
    assert vertex.jobs == {}
    assert all(asked.startswith("GET") for asked in vertex.requests)


def test_each_thing_that_google_would_refuse_later_is_found_now(bake, launchable, doctor, google, cloud, iap, vertex):
    project = launchable(bake(**answers(iap)))
    google.granted = False
    cloud.denied = {(AMBIENT, ACT_AS), (AMBIENT, "storage.objects.create")}
    cloud.images.clear()
    vertex.enabled = False
    image = "europe-west1-docker.pkg.dev/project-42/images/test-project:latest"
    done = doctor(project, "--format", "json")
    assert done.returncode == 1
    found = failed(done)
    assert set(found) == {"Vertex AI", "may act as", "impersonates", "bucket", "image pushed", "MLflow"}
    assert "gcloud services enable aiplatform.googleapis.com --project project-42" in found["Vertex AI"]
    assert found["may act as"] == f"Grant this identity roles/iam.serviceAccountUser on {ACCOUNT}."
    assert found["impersonates"] == f"Grant this identity roles/iam.serviceAccountTokenCreator on {ACCOUNT}."
    assert (
        found["bucket"]
        == "Grant this identity roles/storage.objectUser on gs://bucket: it lacks storage.objects.create."
    )
    assert (
        found["image pushed"]
        == f"{image} is not in the registry yet. Push it: kedro docker build --image {image} && docker push {image}"
    )
    assert f"Grant this identity roles/iam.serviceAccountTokenCreator on {ACCOUNT}." in found["MLflow"]


def test_what_is_not_there_at_all_is_named(bake, launchable, doctor, cloud, iap):
    project = launchable(bake(**answers(iap)))
    cloud.accounts.clear()
    cloud.buckets.clear()
    cloud.denied = {(AMBIENT, "artifactregistry.repositories.downloadArtifacts")}
    found = failed(doctor(project, "--format", "json"))
    assert found["may act as"] == f"There is no service account {ACCOUNT}. Correct run_config.service_account."
    assert found["bucket"] == "There is no bucket gs://bucket. Create it: gcloud storage buckets create gs://bucket"
    assert found["image pushed"].startswith("Grant this identity roles/artifactregistry.reader")


def test_a_refusal_by_iap_is_told_from_mlflows_own(bake, launchable, doctor, google, cloud, iap):
    project = launchable(bake(**answers(iap)))
    google.audience = "another-client"
    by_iap = failed(doctor(project, "--format", "json"))["MLflow"]
    assert by_iap.startswith("Identity-Aware Proxy refuses the token: client_id must be that of the IAP resource")
    google.audience = None
    iap.host = "mlflow.example.com"  # of which the MLflow server has not been told
    by_mlflow = failed(doctor(project, "--format", "json"))["MLflow"]
    assert by_mlflow.startswith(
        "MLflow itself refuses the host name it is called by: start it with mlflow server --allowed-hosts"
    )


@pytest.mark.parametrize(
    ("run_config", "keys", "check", "sentence"),
    [
        ("", {"region": "europe-wset1"}, "region", "Vertex AI has no europe-wset1. Did you mean 'europe-west1'?"),
        ("resources:\n  __default__: {cpu: 128}", {}, "resources", "step 'clean' asks for cpu 128, memory 2Gi; Vertex AI gives a step at most 96 CPUs and 624G."),
        ("resources:\n  split: {memory: 700Gi}", {}, "resources", "step 'split' asks for cpu 1, memory 700Gi"),
        ("resources:\n  split: {memory: 4 GB}", {}, "configuration", "key 'run_config.resources.split.memory'"),
        ("schedules:\n  penguins: {cron_expression: hourly}", {}, "schedules", "'hourly' is not a cron expression"),
        ("schedules:\n  penguin: {cron_expression: 0 6 * * *}", {}, "schedules", "Did you mean 'penguins'?"),
        ("experimnt_name: x", {}, "configuration", "unknown key 'run_config.experimnt_name'. Did you mean 'experiment_name'?"),
    ],
)  # fmt: skip
def test_what_can_be_found_without_a_network_is(bake, doctor, iap, run_config, keys, check, sentence):
    project = bake(**answers(iap))
    settings = project / "conf/cloud/vertexai.yml"
    settings.write_text(
        "".join(line for line in settings.read_text().splitlines(True) if line.split(":")[0] not in keys)
    )
    configure(project, run_config, **keys)
    done = doctor(project, "--offline", "--format", "json")
    assert done.returncode == 1
    assert sentence in failed(done)[check]


def test_versions_and_a_missing_dockerfile_are_named(bake, doctor):
    project = bake()
    (project / "Dockerfile").unlink()
    pyproject = project / "pyproject.toml"
    text = (
        pyproject.read_text()
        .replace('"fsspec>=2025.3"', '"fsspec>=9999"')
        .replace('"rich>=14"', '"rich>=14", "no-such-package"')
        .replace('"pyarrow>=18"', '"pyarrow>=18", "polars>=1"')
    )
    pyproject.write_text(text)
    found = failed(doctor(project, "--offline", "--format", "json", env=None))
    assert "There is no Dockerfile to build test-project:latest from" in found["image"]
    assert "requirements.lock lacks what pyproject.toml asks for: fsspec>=9999, polars>=1. make lock" in found["lock"]
    assert re.search(r"fsspec [\d.]+ \(>=9999\), polars missing \(>=1\), no-such-package missing", found["versions"])


def test_the_regions_are_those_of_googles_library():
    from google.cloud.aiplatform.constants.base import SUPPORTED_REGIONS
    from starter.vertexai.checks.known import REGIONS

    assert SUPPORTED_REGIONS - {"global"} == REGIONS
