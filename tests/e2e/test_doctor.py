"""The checklist as its user reads it, against a small Google and a real MLflow behind a proxy."""

import json
import re
import subprocess
from pathlib import Path

import mlflow
import pytest
from fakes.artifact_registry import Image
from fakes.google_identity import AMBIENT
from running import BIN, run
from small_cloud import ACCOUNT, answers, configure, sign_jwts

pytestmark = pytest.mark.slow

ACT_AS = "iam.serviceAccounts.actAs"
IMAGE = "europe-west1-docker.pkg.dev/project-42/images/test-project:latest"


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
    return {check["name"]: check["message"] for check in json.loads(done.stdout) if not check["ok"]}


def test_a_fresh_project_is_well_here_and_says_what_the_cloud_lacks(bake, doctor):
    project = bake()
    here = doctor(project, env=None)
    assert here.returncode == 0, here.stdout + here.stderr
    lines = here.stdout.splitlines()
    assert len(lines) > 10
    assert all(line.startswith("✓ ") for line in lines)

    there = doctor(project)
    assert there.returncode == 1
    for key, placeholder in [("client_id", "<oauth-client-id>"), ("service_account", "<service-account-email>")]:
        assert f"✗ placeholders      Not filled in yet: conf/cloud/globals.yml: {key}: {placeholder}" in there.stdout
    assert "Google and MLflow were not asked. Correct the lines above first." in there.stderr


def test_with_everything_in_place_all_is_well(bake, launchable, doctor, cloud, iap, vertex):
    done = doctor(launchable(bake(**answers(iap))), "--format", "json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check["message"] for check in json.loads(done.stdout)}
    assert checks["CI"].startswith(
        "A push will not launch. Not filled in yet: conf/cloud/globals.yml: ci_service_account: <"
    )
    assert checks["identity"] == AMBIENT
    assert checks["bucket"] == f"{ACCOUNT} can read and write gs://bucket"
    assert checks["pushed image"] == Image().digest
    assert checks["MLflow"] == f"{iap.url} (MLflow {mlflow.__version__}) answers"
    assert vertex.jobs == {}
    assert all(asked.startswith("GET") for asked in vertex.requests)


def test_each_thing_that_google_would_refuse_later_is_found_now(bake, launchable, doctor, google, cloud, iap, vertex):
    project = launchable(bake(**answers(iap)))
    google.granted = False
    cloud.denied = {(AMBIENT, ACT_AS)}
    cloud.images.clear()
    vertex.enabled = False
    done = doctor(project, "--format", "json")
    assert done.returncode == 1
    failures = failed(done)
    assert set(failures) == {"Vertex AI", "act-as permission", "ID tokens", "pushed image", "MLflow"}
    assert "gcloud services enable aiplatform.googleapis.com --project project-42" in failures["Vertex AI"]
    assert failures["act-as permission"] == f"Grant this identity roles/iam.serviceAccountUser on {ACCOUNT}."
    assert failures["ID tokens"] == f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}."
    # Launching needs no right to get the account's access tokens.
    (bucket,) = (check for check in json.loads(done.stdout) if check["name"] == "bucket")
    assert bucket["doubtful"]
    assert f"This identity gets no access tokens of {ACCOUNT}" in bucket["message"]
    assert bucket["message"].endswith("Run doctor --on-vertex to check.")
    assert (
        failures["pushed image"]
        == f"{IMAGE} is not in the registry yet. Push it: kedro vertexai -e cloud push --image {IMAGE}"
    )
    assert f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}." in failures["MLflow"]


def test_who_may_only_get_id_tokens_of_the_account_is_well(bake, launchable, doctor, google, cloud, iap):
    project = launchable(bake(**answers(iap)))
    google.impersonates = False
    done = doctor(project, "--format", "json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check["message"] for check in json.loads(done.stdout)}
    assert checks["ID tokens"] == ACCOUNT
    assert checks["bucket"].startswith("Could not check whether the steps can read and write gs://bucket")


def test_who_sends_signed_jwts_is_asked_for_the_right_to_sign_them(bake, launchable, doctor, google, cloud, iap):
    project = launchable(bake(**answers(iap)))
    sign_jwts(project)
    iap.is_google_managed = True
    done = doctor(project, "--format", "json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check["message"] for check in json.loads(done.stdout)}
    assert (checks["signed JWTs"], checks["MLflow"]) == (ACCOUNT, f"{iap.url} (MLflow {mlflow.__version__}) answers")
    assert "ID tokens" not in checks
    google.granted = False
    result = failed(doctor(project, "--format", "json"))
    assert result["signed JWTs"] == f"Grant this identity a role with iam.serviceAccounts.signJwt on {ACCOUNT}."
    assert f"Grant this identity a role with iam.serviceAccounts.signJwt on {ACCOUNT}, as" in result["MLflow"]


def test_what_is_not_there_at_all_is_named(bake, launchable, doctor, cloud, iap):
    gpu = "europe-west1-docker.pkg.dev/project-42/images/gpu:1"
    project = launchable(bake(**answers(iap)), f"resources: {{train_forest: {{image: {gpu}}}}}")
    cloud.accounts.clear()
    cloud.buckets.clear()
    cloud.denied = {(AMBIENT, "artifactregistry.repositories.downloadArtifacts")}
    done = doctor(project, "--format", "json")
    failures = failed(done)
    assert (
        failures["act-as permission"] == f"There is no service account {ACCOUNT}. Correct run_config.service_account."
    )
    assert failures["bucket"] == "There is no bucket gs://bucket. Create it: gcloud storage buckets create gs://bucket"
    of_a_step, pushed = (check for check in json.loads(done.stdout) if check["name"] == "pushed image")
    assert pushed["doubtful"]  # Vertex AI's service agents pull the image, not whoever launches
    assert "without roles/artifactregistry.reader on its repository" in pushed["message"]
    assert of_a_step["message"] == pushed["message"].replace(IMAGE, gpu)


def test_an_account_that_may_write_but_not_rename_and_a_name_that_is_no_experiment_are_found(
    bake, launchable, doctor, cloud, iap, vertex
):
    project = launchable(bake(**answers(iap)), "experiment_name: penguins")
    name = f"{vertex.parent}/metadataStores/default/contexts/penguins"
    vertex.contexts[name] = {"name": name, "schemaTitle": "system.Pipeline"}
    cloud.denied = {(ACCOUNT, "storage.objects.delete")}
    failures = failed(doctor(project, "--format", "json"))
    assert set(failures) == {"Vertex AI", "bucket"}
    assert (
        failures["bucket"]
        == f"Grant {ACCOUNT} roles/storage.objectUser on gs://bucket: it lacks storage.objects.delete."
    )
    assert failures["Vertex AI"].startswith("penguins is a context of type system.Pipeline and no experiment.")


def test_a_refusal_by_iap_is_told_from_mlflows_own(bake, launchable, doctor, google, cloud, iap):
    project = launchable(bake(**answers(iap)))
    google.audience = "another-client"
    by_iap = failed(doctor(project, "--format", "json"))["MLflow"]
    assert by_iap.startswith("Identity-Aware Proxy refuses the token. ")
    assert "client_id must be that client's" in by_iap
    assert "name the provider MLFlowGoogleIapJwtRequestHeaderProvider" in by_iap
    google.audience = None
    iap.host = "mlflow.example.com"  # of which the MLflow server has not been told
    by_mlflow = failed(doctor(project, "--format", "json"))["MLflow"]
    assert by_mlflow.startswith(
        "MLflow refuses the host name in its address. Start it with: mlflow server --allowed-hosts"
    )


@pytest.mark.parametrize(
    ("run_config", "keys", "check", "sentence"),
    [
        ("", {"region": "europe"}, "region", "region: europe is not the name of a region, such as europe-west1."),
        ("resources:\n  split: {gpu: 1}", {}, "resources", "step 'split' asks for 1 GPU but has no gpu_type."),
        ("resources:\n  split: {memory: 4 GB}", {}, "configuration", "key 'run_config.resources.split.memory'"),
        ("schedules:\n  penguins: {cron_expression: hourly}", {}, "schedules", "'hourly' is not a cron expression"),
        ("schedules:\n  penguin: {cron_expression: 0 6 * * *}", {}, "schedules", "Did you mean 'penguins'?"),
        ("experiment_name: test-project", {}, "experiment", "test-project is also the name of the compiled pipeline"),
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


STEPS = """resources:
  __default__: {cpu: 128}
  split: {cpu: 1, memory: 700Gi}
  train_forest: {cpu: 1, gpu_type: NVIDIA_R200}"""


@pytest.mark.parametrize(
    ("region", "run_config", "warnings"),
    [
        ("mars-north1", "", [("region", "mars-north1 is not a region that this project knows.")]),
        ("europe-wset1", STEPS, [
            ("region", "europe-wset1 is not a region that this project knows. Did you mean 'europe-west1'?"),
            ("resources", "step 'clean' asks for cpu 128, memory 2Gi; the largest machine that this project knows has 96 CPUs and 624G."),
            ("resources", "step 'split' asks for cpu 1, memory 700Gi"),
            ("resources", "step 'train-forest' asks for GPU type NVIDIA_R200, which this project does not know."),
        ]),
    ],
)  # fmt: skip
def test_what_is_newer_than_this_project_is_a_warning_and_can_be_launched(
    bake, doctor, iap, region, run_config, warnings
):
    project = bake(**answers(iap))
    settings = project / "conf/cloud/vertexai.yml"
    settings.write_text("".join(line for line in settings.read_text().splitlines(True) if line[:7] != "region:"))
    configure(project, run_config, region=region)
    done = doctor(project, "--offline")
    assert done.returncode == 0, done.stdout
    launched = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-once", "--dry-run", cwd=project)
    assert launched.returncode == 0
    for check, sentence in warnings:
        assert re.search(rf"^! {check} +.*{re.escape(sentence)}", done.stdout, re.MULTILINE)
        assert sentence in launched.stderr


@pytest.mark.parametrize(
    "command", [["list-pipelines"], ["status", "j"], ["logs", "j"], ["cancel", "j"], ["ui"], ["schedule", "--prune"]]
)
def test_every_command_that_needs_the_cloud_names_placeholders_alike(bake, command):
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", *command, cwd=bake())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: Not filled in yet: conf/cloud/globals.yml: project_id: <")
    assert "conf/cloud/globals.yml: region: <gcp-region>" in done.stderr


def test_a_root_without_a_scheme_is_a_bucket_unless_the_project_has_such_a_folder(bake, doctor, iap):
    project = bake(**answers(iap))
    settings = project / "conf/cloud/vertexai.yml"
    text = settings.read_text()
    settings.write_text(re.sub("root: .*", "root: bucket/prefix", text))
    done = doctor(project, "--offline")
    assert done.returncode == 0
    assert "run_config.root: bucket/prefix is read as the bucket gs://bucket/prefix. Write it with gs://" in done.stdout
    settings.write_text(re.sub("root: .*", "root: data/out", text))
    done = doctor(project, "--offline")
    assert done.returncode == 1
    assert "run_config.root: data/out: is this a bucket, or the folder 'data' of this project?" in done.stdout


def test_asking_for_the_mlflow_store_leaves_the_environment_alone(bake):
    script = """
import os
from pathlib import Path
from vertexai_mlflow.project import Project
before = dict(os.environ)
store = Project(Path.cwd()).shared_mlflow()
assert dict(os.environ) == before, set(os.environ) ^ set(before)
print(store)
"""
    project = bake()
    done = run(BIN / "python", "-c", script, cwd=project, PYTHONPATH=str(project / "src"))
    assert done.stdout.strip() == f"sqlite:///{project}/mlflow.db", done.stderr


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
    failures = failed(doctor(project, "--offline", "--format", "json", env=None))
    assert "There is no Dockerfile to build test-project:latest from" in failures["image"]
    assert (
        "requirements.lock lacks what pyproject.toml asks for: fsspec>=9999, polars>=1. make lock" in failures["lock"]
    )
    assert re.search(r"fsspec [\d.]+ \(>=9999\), polars missing \(>=1\), no-such-package missing", failures["versions"])


def test_the_regions_are_those_of_googles_library():
    from google.cloud.aiplatform.constants.base import SUPPORTED_REGIONS

    from vertexai_mlflow.checks.vertex_limits import REGIONS

    assert SUPPORTED_REGIONS - {"global"} == REGIONS


def test_datasets_that_cannot_be_made_and_imports_that_are_not_locked_are_all_named_with_the_cure(
    with_pipeline, doctor
):
    project = with_pipeline(
        """
import cronsim
from kedro.pipeline import Node, Pipeline


def same(*taken):
    import trustme
    return taken


def create_pipeline(**_kwargs):
    return Pipeline([Node(same, ["sales", "regions_csv"], "metrics", name="a"), Node(same, "metrics", "model", name="b")])
"""
    )
    (project / "conf/base/catalog.yml").write_text(
        """
sales: {type: pandas.CSVDatasett, filepath: data/sales.csv}
"{name}_csv": {type: partitions.PartitionedDataset, path: "data/{name}", dataset: {type: pandas.CSVDataset, sepp: ;}}
metrics: {type: tracking.MetricsDataset, filepath: data/metrics.json}
model: {type: kedro_mlflow.io.models.MlflowModelTrackingDataset, flavor: mlflow.sklearn, artifact_path: model}
unused: {type: no.Such}
"""
    )
    done = doctor(project, "--offline", "--format", "json", env=None)
    assert done.returncode == 1
    failures = failed(done)
    for message in (
        "catalog.yml: sales.type: kedro_datasets.pandas has no class 'CSVDatasett'. Did you mean 'CSVDataset'?",
        "catalog.yml: {name}_csv.dataset.sepp: CSVDataset has no such argument.",
        "catalog.yml: metrics.type: there is no module 'tracking', neither in kedro-datasets",
        "catalog.yml: model.artifact_path: MlflowModelTrackingDataset has no such argument. Known: flavor, ",
    ):
        assert message in failures["datasets"]
    assert "unused" not in failures["datasets"]
    module = "src/test_project/pipelines/under_test/__init__.py"
    assert re.search(rf'dependencies: "cronsim>=[\d.]+" \({module}\); "trustme>=[\d.]+" \({module}\)', failures["lock"])
    launched = run(BIN / "kedro", "vertexai", "run-once", "--dry-run", cwd=project)
    assert launched.returncode == 1
    assert "✗ datasets          catalog.yml: " in launched.stderr
