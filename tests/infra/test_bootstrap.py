"""``make bootstrap`` with the real gcloud, against Google's control plane on loopback."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import facts
import pytest
from bootstrap import _ORIGIN, PROJECT
from fakes.control_plane import NUMBER, ControlPlane, control_plane
from running import BIN, run
from wanted import APIS, Cloud, Host, grants

pytestmark = [
    pytest.mark.slow,
    # No package index has it, so a machine without it cannot install it for the tests.
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="There is no gcloud command here."),
]
PIPELINE = "test-project-pipeline@project-42.iam.gserviceaccount.com"
LAUNCHER = "test-project-launcher@project-42.iam.gserviceaccount.com"
ISSUER = "https://token.actions.githubusercontent.com"
AGENT = f"service-{NUMBER}@gcp-sa-aiplatform.iam.gserviceaccount.com"
CODE_AGENT = f"service-{NUMBER}@gcp-sa-aiplatform-cc.iam.gserviceaccount.com"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools"
Bootstrap = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with control_plane("project-42") as plane:
        yield plane


@pytest.fixture
def project(bake) -> Callable[..., Path]:
    """A project that knows where it is to be, and the remote it is pushed to."""

    def project(origin: str = "git@github.com:acme/penguins.git", **others: str) -> Path:
        made = bake(gcp_project_id="project-42", gcp_region="europe-west1", **others)
        for command in (["init", "-q"], ["remote", "add", "origin", origin]):
            assert run("git", *command, cwd=made).returncode == 0
        return made

    return project


@pytest.fixture
def bootstrap(plane, tmp_path) -> Bootstrap:
    def bootstrap(project: Path, arguments: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        variables = {**plane.environment, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "PATH": path}
        return run("make", "--silent", "bootstrap", f"ARGS={arguments}", cwd=project, **variables)

    return bootstrap


def globals_of(project: Path) -> dict[str, str]:
    return facts.read(project / "conf/cloud/globals.yml")


def test_an_empty_project_gets_what_is_needed_and_a_second_time_changes_nothing(plane, project, bootstrap):
    made = project()
    comments = re.findall("^#.*", (made / "conf/cloud/globals.yml").read_text(), re.MULTILINE)
    plane.unknown_for = 1
    done = bootstrap(made, "--mlflow backend-services:mlflow")
    assert done.returncode == 0, done.stderr
    assert set(APIS) <= plane.apis
    bucket = plane.resources["b/project-42-test-project"]
    assert bucket["location"] == "europe-west1"
    assert bucket["iamConfiguration"] == {
        "publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True},
    }  # fmt: skip
    assert bucket["lifecycle"]["rule"] == [
        {"action": {"type": "Delete"}, "condition": {"age": 90, "matchesPrefix": ["test-project/"]}}
    ]
    repository = "projects/project-42/locations/europe-west1/repositories/test-project"
    assert plane.resources[repository]["format"] == "DOCKER"
    pools = "projects/project-42/locations/global/workloadIdentityPools"
    provider = plane.resources[f"{pools}/test-project-ci/providers/github"]
    assert provider["attributeCondition"] == Host("github", ISSUER, "acme/penguins", "main", "cloud").condition
    assert provider["oidc"] == {"issuerUri": ISSUER}
    accounts = "projects/project-42/serviceAccounts"
    jobs = f"principalSet://iam.googleapis.com/{POOL}/test-project-ci/attribute.repository/acme/penguins"
    assert {name: plane.roles(name) for name in plane.policies} == {
        "projects/project-42": {
            f"serviceAccount:{PIPELINE}": {"roles/aiplatform.user"},
            f"serviceAccount:{LAUNCHER}": {"roles/aiplatform.user"},
        },
        "b/project-42-test-project": {f"serviceAccount:{PIPELINE}": {"roles/storage.objectUser"}},
        repository: {
            f"serviceAccount:{LAUNCHER}": {"roles/artifactregistry.writer"},
            f"serviceAccount:{AGENT}": {"roles/artifactregistry.reader"},
        },
        f"{accounts}/{PIPELINE}": {
            f"serviceAccount:{PIPELINE}": {"roles/iam.serviceAccountOpenIdTokenCreator"},
            f"serviceAccount:{LAUNCHER}": {
                "roles/iam.serviceAccountUser", "roles/iam.serviceAccountOpenIdTokenCreator",
            },
        },
        f"{accounts}/{LAUNCHER}": {jobs: {"roles/iam.workloadIdentityUser"}},
        "projects/project-42/iap_web/compute/services/mlflow": {
            f"serviceAccount:{PIPELINE}": {"roles/iap.httpsResourceAccessor"}
        },
    }  # fmt: skip
    assert globals_of(made) == {
        "project_id": "project-42",
        "region": "europe-west1",
        "bucket": "gs://project-42-test-project",
        "artifact_registry": "europe-west1-docker.pkg.dev/project-42/test-project",
        "mlflow_tracking_uri": "",
        "client_id": "",
        "service_account": PIPELINE,
        "ci_service_account": LAUNCHER,
        "workload_identity_provider": f"{POOL}/test-project-ci/providers/github",
    }
    assert "Not filled in yet: conf/cloud/globals.yml: mlflow_tracking_uri, client_id\n" in done.stdout
    later = (
        "gcloud artifacts repositories add-iam-policy-binding test-project --location=europe-west1 --project=project-42 "
        f"--member=serviceAccount:{CODE_AGENT} --role=roles/artifactregistry.reader"
    )
    assert (
        f"later roles/artifactregistry.reader on registry europe-west1-docker.pkg.dev/project-42/test-project for serviceAccount:{CODE_AGENT}"
        in done.stdout
    )
    assert later in done.stdout
    assert re.findall("^#.*", (made / "conf/cloud/globals.yml").read_text(), re.MULTILINE) == comments

    before, text = list(plane.changes), (made / "conf/cloud/globals.yml").read_text()
    again = bootstrap(made, "--mlflow backend-services:mlflow")
    assert again.returncode == 0, again.stderr
    assert not re.search(r"^\+", again.stdout, re.MULTILINE)
    assert (plane.changes, (made / "conf/cloud/globals.yml").read_text()) == (before, text)
    # The first job has run, so the second agent is there.
    plane.appear("gcp-sa-aiplatform-cc")
    assert bootstrap(made, "--mlflow backend-services:mlflow").returncode == 0
    assert plane.roles(repository)[f"serviceAccount:{CODE_AGENT}"] == {"roles/artifactregistry.reader"}
    before = list(plane.changes)
    # Somebody has let others in since.
    provider["attributeCondition"] = "true"
    again = bootstrap(made, "--mlflow backend-services:mlflow")
    assert again.returncode == 2
    assert "federation provider github exists, but it is not one that lets in jobs of acme/penguins" in again.stderr
    assert "gcloud iam workload-identity-pools providers update-oidc github" in again.stderr
    assert plane.changes == before


def test_a_dry_run_prints_the_plan_and_changes_nothing(plane, project, bootstrap):
    made = project("https://gitlab.example.com/group/sub/penguins.git", ci="gitlab")
    text = (made / "conf/cloud/globals.yml").read_text()
    done = bootstrap(made, "--dry-run --branch trunk")
    assert done.returncode == 0, done.stderr
    assert plane.changes == []
    assert (made / "conf/cloud/globals.yml").read_text() == text
    assert "gcloud storage buckets create gs://project-42-test-project --project=project-42" in done.stdout
    assert "--issuer-uri=https://gitlab.example.com" in done.stdout
    assert "--allowed-audiences=https://gitlab.example.com" in done.stdout
    for claim in ("project_path == 'group/sub/penguins'", "ref == 'trunk'", "ref_protected == 'true'"):
        assert f"assertion.{claim}" in done.stdout.replace("""'"'"'""", "'")
    assert f"would fill in conf/cloud/globals.yml: service_account: {PIPELINE}" in done.stdout


def test_what_is_filled_in_is_kept_and_without_ci_nothing_is_federated(plane, project, bootstrap):
    own = "own@project-42.iam.gserviceaccount.com"
    plane.resources["b/own"] = {"name": "own", "kind": "storage#bucket"}
    plane.resources[f"projects/project-42/serviceAccounts/{own}"] = {"email": own}
    made = project(ci="none", gcp_bucket="gs://own/with/path", service_account=own)
    done = bootstrap(made)
    assert done.returncode == 0, done.stderr
    assert plane.roles("b/own") == {f"serviceAccount:{own}": {"roles/storage.objectUser"}}
    assert not any("workloadIdentityPools" in name for name in plane.resources)
    assert (globals_of(made)["bucket"], globals_of(made)["service_account"]) == ("gs://own/with/path", own)
    assert globals_of(made)["ci_service_account"] == ""


def test_a_refusal_is_told_by_gcloud_and_what_was_made_is_found_the_next_time(plane, project, bootstrap):
    made = project(ci="none")
    text = (made / "conf/cloud/globals.yml").read_text()
    plane.denied = "serviceAccounts$"
    done = bootstrap(made)
    assert done.returncode == 2  # make's
    assert "Error: gcloud iam service-accounts create test-project-pipeline --project=project-42" in done.stderr
    assert "Permission denied on projects/project-42/serviceAccounts" in done.stderr
    assert "Traceback" not in done.stderr
    assert (made / "conf/cloud/globals.yml").read_text() == text
    plane.denied = ""
    done = bootstrap(made)
    assert done.returncode == 0, done.stderr
    assert "there bucket gs://project-42-test-project" in done.stdout
    assert globals_of(made)["service_account"] == PIPELINE


@pytest.mark.parametrize(
    ("origin", "arguments", "sentence"),
    [
        ("git@github.com:a/b.git", "--env prod", "--env prod: there is no file conf/prod/globals.yml."),
        ("git@github.com:a/b.git", "--env cloud/.", "--env cloud/.: there is no file"),
        (
            "/srv/git/penguins",
            "--repository penguins",
            "--repository: 'penguins' does not have the form owner/name. Name the repository whose CI may launch",
        ),
        ("git@work:a/b.git", "", "--server: 'work' is not a host name. Name the git host whose CI may launch"),
        ("git@github.com:a/b.git", "--branch x'y", "--branch: 'x'y' cannot be put into the federation's condition."),
        (
            "git@github.com:a/b.git",
            "--branch trunk",
            "--branch trunk: ci.yml runs on pushes to another branch. Change it there first.",
        ),
        ("git@github.com:a/b.git", "--mlflow vm:x", "--mlflow vm:x: this must be cloud-run:SERVICE"),
    ],
)
def test_a_mistake_is_a_sentence_before_anything_is_made(origin, arguments, sentence, plane, project, bootstrap):
    done = bootstrap(project(origin), arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert plane.changes == []


def test_what_is_of_another_project_is_refused(plane, project, bootstrap):
    """As in a copy of another environment's facts."""
    staging = "pipeline@staging-1.iam.gserviceaccount.com"
    done = bootstrap(project(service_account=staging))
    assert done.returncode == 2
    assert f"conf/cloud/globals.yml: service_account: not in project project-42 ({NUMBER})" in done.stderr
    assert plane.changes == []


@pytest.mark.parametrize(
    ("origin", "server", "repository"),
    [
        ("git@github.com:acme/demo.git", "github.com", "acme/demo"),
        ("https://token@github.com/acme/demo", "github.com", "acme/demo"),
        ("ssh://git@ssh.github.com:443/acme/demo.git", "ssh.github.com", "acme/demo"),
        ("ssh://git@git.acme.corp:2222/group/sub/demo.git", "git.acme.corp", "group/sub/demo"),
        ("https://git.acme.corp:8443/group/demo.git/", "git.acme.corp:8443", "group/demo"),
    ],
)
def test_whose_ci_it_is_is_told_by_the_remote(origin, server, repository):
    remote = _ORIGIN.match(origin)
    assert (remote["web"] or remote["ssh"], remote["repository"]) == (server, repository)


def test_project_and_region_must_be_known(plane, bake, bootstrap):
    done = bootstrap(bake())
    assert done.returncode == 2
    assert "conf/cloud/globals.yml: fill in project_id and region first" in done.stderr


def test_a_deleted_pool_is_named(plane, project, bootstrap):
    plane.resources["projects/project-42/locations/global/workloadIdentityPools/test-project-ci"] = {"state": "DELETED"}
    done = bootstrap(project())
    assert done.returncode == 2
    assert "federation pool test-project-ci was deleted, and its name cannot be used again for 30 days" in done.stderr
    undelete = "gcloud iam workload-identity-pools undelete test-project-ci --location=global --project=project-42"
    assert undelete in done.stderr


def test_every_role_that_is_granted_is_in_the_readme_and_no_other():
    cloud = Cloud(
        project="p", number="1", region="r", bucket="gs://b", registry="r-docker.pkg.dev/p/i", pipeline="p@p", launcher="l@p",
        provider="pool/providers/x", host=Host("github", "i", "o/n", "main", "cloud"), mlflow=("--resource-type=app-engine",),
    )  # fmt: skip
    who = {f"serviceAccount:{cloud.pipeline}": "pipeline", f"serviceAccount:{cloud.launcher}": "launcher"}
    agents = "serviceAccount:service-1@gcp-sa-aiplatform"
    who |= dict.fromkeys((f"{agents}.iam.gserviceaccount.com", f"{agents}-cc.iam.gserviceaccount.com"), "Vertex AI")
    granted = {(who.get(grant.member, "CI jobs"), grant.role) for grant in grants(cloud)}
    rows = re.findall(r"^\| ([\w ]+) \| `(roles/[\w.]+)` \|", (PROJECT / "infra/README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == granted
