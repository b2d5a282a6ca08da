"""``make bootstrap`` with the real gcloud, against Google's control plane on loopback."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.control_plane import NUMBER, ControlPlane, control_plane
from fakes.google_identity import Refused
from running import BIN, PLATFORM, run
from small_cloud import sign_jwts

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.infra import facts, gcloud
from vertexai_mlflow.infra.__main__ import _print_keys, _print_other_grants, _read_bindings
from vertexai_mlflow.infra.compare import plan_commands
from vertexai_mlflow.infra.git_host import _ORIGIN, Host
from vertexai_mlflow.infra.wanted import APIS, LAUNCHER_PERMISSIONS, Cloud, list_grants, list_resources

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
NUMBERS = "--repository-id 1296269 --owner-id 583231"
OWNER = "Owner: test_project, environment cloud, repository 1296269 on token.actions.githubusercontent.com"
HOST = Host("github", ISSUER, "acme/penguins", "1296269", "583231", "main", "cloud")
CLOSED_BUCKET = {
    "name": "own", "kind": "storage#bucket", "projectNumber": NUMBER,
    "iamConfiguration": {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}},
}  # fmt: skip
CLOUD = Cloud(
    project="project-42", number=NUMBER, region="europe-west1", bucket="gs://b", artifacts="test-project/", registry="r-docker.pkg.dev/p/i",
    pipeline=PIPELINE, launcher=LAUNCHER, role="test_project_launcher", signer="", provider=f"{POOL}/test-project-ci/providers/github",
    host=HOST, mlflow=("--resource-type=app-engine",), owner=OWNER.removeprefix("Owner: "),
)  # fmt: skip
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
    def bootstrap(
        project: Path, arguments: str = "", numbers: str = NUMBERS, **more: str
    ) -> subprocess.CompletedProcess[str]:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        variables = {**plane.environment, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "PATH": path, **more}
        return run("make", "--silent", "bootstrap", f"ARGS={numbers} {arguments}", cwd=project, **variables)

    return bootstrap


def test_the_steps_may_read_the_secrets_and_sign_the_jwts_that_the_configuration_names_and_nothing_else(
    plane, project, bootstrap
):
    """Who sends signed JWTs gets no role for ID tokens."""
    content = project()
    sign_jwts(content)
    (content / "conf/cloud/credentials_secrets.yml").write_text(
        "door: {key: '${gcp.secret:door-key,3}', other: '${gcp.secret:projects/elsewhere/secrets/x}'}\n"
        "# old: ${gcp.secret:forgotten}\n"
    )
    (content / "conf/base/vertexai.yml").write_text(
        (content / "conf/base/vertexai.yml").read_text() + "  notify: {webhook: '${gcp.secret:chat}'}\n"
    )
    planned = bootstrap(content, "--dry-run")
    assert "gcloud secrets create chat --project=project-42 --replication-policy=automatic" in planned.stdout
    done = bootstrap(content)
    assert done.returncode == 0, done.stderr
    assert "secretmanager.googleapis.com" in plane.apis
    assert sorted(name for name in plane.resources if "/secrets/" in name) == [
        "projects/project-42/secrets/chat", "projects/project-42/secrets/door-key",
    ]  # fmt: skip
    for name in ("chat", "door-key"):
        assert plane.roles(f"projects/project-42/secrets/{name}") == {
            f"serviceAccount:{PIPELINE}": {"roles/secretmanager.secretAccessor"}
        }
    assert "roles/secretmanager" not in str(plane.policies["projects/project-42"])
    assert re.findall("Not granted by this command: (.*)", done.stdout) == [
        "projects/elsewhere/secrets/x is in another project. The steps' account needs to read it there."
    ]
    role = "projects/project-42/roles/test_project_signer"
    assert plane.resources[role]["includedPermissions"] == ["iam.serviceAccounts.signJwt"]
    assert plane.roles(f"projects/project-42/serviceAccounts/{PIPELINE}") == {
        f"serviceAccount:{PIPELINE}": {role},
        f"serviceAccount:{LAUNCHER}": {role, "roles/iam.serviceAccountUser"},
    }
    before = len(plane.changes)
    assert bootstrap(content).returncode == 0
    assert len(plane.changes) == before


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
    assert bucket["softDeletePolicy"] == {"retentionDurationSeconds": "0"}
    assert bucket["lifecycle"]["rule"] == [
        {"action": {"type": "Delete"}, "condition": {"age": 90, "matchesPrefix": ["test-project/"]}}
    ]
    repository = "projects/project-42/locations/europe-west1/repositories/test-project"
    assert plane.resources[repository]["format"] == "DOCKER"
    pools = "projects/project-42/locations/global/workloadIdentityPools"
    provider = plane.resources[f"{pools}/test-project-ci/providers/github"]
    assert provider["attributeCondition"] == HOST.condition
    assert provider["oidc"] == {"issuerUri": ISSUER}
    assert plane.resources["projects/project-42/roles/test_project_launcher"]["includedPermissions"] == list(
        LAUNCHER_PERMISSIONS
    )
    accounts = "projects/project-42/serviceAccounts"
    jobs = f"principal://iam.googleapis.com/{POOL}/test-project-ci/subject/repository:1296269:environment:cloud"
    assert {name: plane.roles(name) for name in plane.policies} == {
        "projects/project-42": {
            f"serviceAccount:{PIPELINE}": {"roles/aiplatform.user"},
            f"serviceAccount:{LAUNCHER}": {"projects/project-42/roles/test_project_launcher"},
        },
        "b/project-42-test-project": {
            f"serviceAccount:{PIPELINE}": {"roles/storage.objectUser"},
            "projectOwner:project-42": {"roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner"},
        },
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
    # As an older version of this project granted them.
    by_name = f"principalSet://iam.googleapis.com/{POOL}/test-project-ci/attribute.repository/acme/penguins"
    plane.grant("projects/project-42", "roles/aiplatform.user", f"serviceAccount:{LAUNCHER}")
    plane.grant(f"{accounts}/{LAUNCHER}", "roles/iam.workloadIdentityUser", by_name)
    again = bootstrap(made, "--mlflow backend-services:mlflow")
    assert again.returncode == 0, again.stderr
    assert not re.search(r"^\+", again.stdout, re.MULTILINE)
    assert (plane.changes, (made / "conf/cloud/globals.yml").read_text()) == (before, text)
    assert re.findall("Not granted by this command: (.*) on .* for (.*). To remove it: gcloud", again.stdout) == [
        ("roles/aiplatform.user", f"serviceAccount:{LAUNCHER}"), ("roles/iam.workloadIdentityUser", by_name),
    ]  # fmt: skip
    assert f"gcloud projects remove-iam-policy-binding project-42 --member=serviceAccount:{LAUNCHER}" in again.stdout
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
    assert 'attributeCondition is "true" and must be "assertion.repository_id == \'1296269\'' in again.stderr
    assert "gcloud iam workload-identity-pools providers update-oidc github" in again.stderr
    assert plane.changes == before


def test_a_dry_run_prints_the_plan_and_changes_nothing(plane, project, bootstrap):
    made = project("https://gitlab.example.com/group/sub/penguins.git", ci="gitlab")
    text = (made / "conf/cloud/globals.yml").read_text()
    done = bootstrap(made, "--dry-run --branch trunk")
    assert done.returncode == 0, done.stderr
    assert plane.changes == []
    assert (made / "conf/cloud/globals.yml").read_text() == text
    assert "gcloud storage buckets create gs://project-42-test-project --uniform-bucket-level-access" in done.stdout
    assert "--issuer-uri=https://gitlab.example.com" in done.stdout
    assert "--allowed-audiences=https://gitlab.example.com/projects/1296269/environments/cloud" in done.stdout
    for claim in ("project_id == '1296269'", "namespace_id == '583231'", "ref == 'trunk'", "ref_protected == 'true'"):
        assert f"assertion.{claim}" in done.stdout.replace("""'"'"'""", "'")
    assert f"would fill in conf/cloud/globals.yml: service_account: {PIPELINE}" in done.stdout


def test_what_is_filled_in_is_kept_and_without_ci_nothing_is_federated(plane, project, bootstrap):
    own = "own@project-42.iam.gserviceaccount.com"
    plane.resources["b/own"] = {**CLOSED_BUCKET}
    plane.resources[f"projects/project-42/serviceAccounts/{own}"] = {"email": own}
    made = project(ci="none", gcp_bucket="gs://own/with/path", service_account=own)
    done = bootstrap(made)
    assert done.returncode == 2
    assert plane.changes == [("POST", "services:batchEnable")]
    question = f"service account {own} exists, is named in globals.yml (service_account), and does not say whose it is."
    assert question in done.stderr
    done = bootstrap(made, "--adopt")
    assert done.returncode == 0, done.stderr
    assert plane.roles("b/own") == {f"serviceAccount:{own}": {"roles/storage.objectUser"}}
    assert not any("workloadIdentityPools" in name for name in plane.resources)
    account = plane.resources[f"projects/project-42/serviceAccounts/{own}"]
    assert account["description"] == "Owner: test_project, environment cloud"
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


def test_all_that_lets_others_in_is_named(plane, monkeypatch, capsys):
    """With a condition or not: whoever mints the accounts' tokens, writes to the bucket, or has a key."""
    _let_gcloud_talk_to(plane, monkeypatch)
    account = f"projects/project-42/serviceAccounts/{PIPELINE}"
    plane.resources["b/b"] = {**CLOSED_BUCKET, "name": "b"}
    plane.resources[account] = {"email": PIPELINE, "description": OWNER}
    plane.resources[f"{account}/keys"] = {"keys": ["0123abcd"]}
    plane.grant(account, "roles/iam.serviceAccountTokenCreator", "user:eve@example.com", "true")
    plane.grant("b/b", "roles/storage.objectAdmin", "user:eve@example.com")
    plane.grant("b/b", "roles/storage.objectViewer", "user:reader@example.com")
    plane.grant("b/b", "roles/storage.objectUser", f"serviceAccount:{PIPELINE}", "request.time < timestamp('2100')")
    plane.grant("projects/project-42", "roles/storage.admin", "group:data@example.com")
    plane.grant("projects/project-42", "roles/viewer", "group:data@example.com")
    _read_bindings.cache_clear()
    cloud = replace(CLOUD, host=None, mlflow=())
    bucket, _registry, pipeline, *_ = list_resources(cloud)
    _print_other_grants(cloud, [grant for grant in list_grants(cloud) if "registry" not in grant.resource.name])
    _print_keys([bucket, pipeline])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(". To remove it: gcloud ")[0] for line in lines] == [
        "Not granted by this command: roles/storage.admin on project project-42 for group:data@example.com",
        f"Not granted by this command: roles/storage.objectUser on bucket gs://b for serviceAccount:{PIPELINE}, if "
        "request.time < timestamp('2100')",
        "Not granted by this command: roles/storage.objectAdmin on bucket gs://b for user:eve@example.com",
        f"Not granted by this command: roles/iam.serviceAccountTokenCreator on service account {PIPELINE} for "
        "user:eve@example.com, if true",
        f"Not made by this command: key 0123abcd of service account {PIPELINE}. Whoever has it acts as this account, and "
        "nothing here needs it",
    ]
    for line in lines:
        _, *command = shlex.split(line.partition(". To remove it: ")[2])
        if "remove-iam-policy-binding" in command:
            gcloud.change(*command)
    assert plane.roles("b/b") == {"user:reader@example.com": {"roles/storage.objectViewer"}}
    assert plane.roles(account) == {}


LEFT = {"projectOwner:project-42": {"roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner"}}


@pytest.mark.parametrize("bucket", ["", "gs://named-beforehand"])
def test_what_an_interrupted_run_has_left_on_the_bucket_is_removed_by_the_next_one(plane, project, bootstrap, bucket):
    content = project(ci="none", **({"gcp_bucket": bucket} if bucket else {}))
    plane.denied = "^b/.*:setIamPolicy"
    done = bootstrap(content)
    assert done.returncode == 2
    assert "remove-iam-policy-binding" in done.stderr
    name = f"b/{bucket.removeprefix('gs://') or 'project-42-test-project'}"
    assert "projectViewer:project-42" in plane.roles(name)
    # Somebody has removed one of them by hand since.
    plane.policies[name]["bindings"] = [
        item for item in plane.policies[name]["bindings"] if item["role"] != "roles/storage.legacyObjectReader"
    ]
    plane.denied = ""
    done = bootstrap(content)
    assert done.returncode == 0, done.stderr
    assert plane.roles(name) == {**LEFT, f"serviceAccount:{PIPELINE}": {"roles/storage.objectUser"}}
    before = len(plane.changes)
    assert bootstrap(content).returncode == 0
    assert len(plane.changes) == before


def test_the_roles_on_a_bucket_that_somebody_else_has_made_are_named_and_left(plane, project, bootstrap):
    plane.resources["b/own"] = {**CLOSED_BUCKET}
    plane.grant("b/own", "roles/storage.legacyBucketOwner", "projectEditor:project-42")
    done = bootstrap(project(ci="none", gcp_bucket="gs://own"))
    assert done.returncode == 0, done.stderr
    assert plane.roles("b/own")["projectEditor:project-42"] == {"roles/storage.legacyBucketOwner"}
    # It is of before there were marks, or made by hand.
    assert plane.resources["b/own"]["labels"]["kedro_owner"].startswith("test_project-cloud-")
    assert "Warning: bucket gs://own did not say whose it is. It is marked as this environment's now" in done.stdout
    message = "Not granted by this command: roles/storage.legacyBucketOwner on bucket gs://own for projectEditor:project-42. To remove it: "
    assert f"{message}gcloud storage buckets remove-iam-policy-binding gs://own" in done.stdout


def test_an_environment_does_not_get_the_bucket_of_another_one(plane, project, bootstrap):
    """As in a copy of `conf/cloud` in which `bucket` stayed filled in: who may write it runs code in its steps."""
    content = project(ci="none")
    shutil.copytree(content / "conf/cloud", content / "conf/prod")
    assert bootstrap(content).returncode == 0
    facts.fill_in(content / "conf/prod/globals.yml", {"bucket": globals_of(content)["bucket"]})
    before = list(plane.changes)
    done = bootstrap(content, "--env prod --adopt")
    assert done.returncode == 2
    assert "bucket gs://project-42-test-project exists, but it is not one that keeps the artifacts" in done.stderr
    assert re.search(r'labels.kedro_owner is "test_project-cloud-\w+" and must be "test_project-prod-\w+"', done.stderr)
    assert plane.changes == before


def test_a_bucket_of_another_repository_with_the_same_package_and_environment_is_refused(plane, monkeypatch):
    _let_gcloud_talk_to(plane, monkeypatch)
    bucket, *_ = list_resources(CLOUD)
    plane.resources["b/b"] = {**CLOSED_BUCKET, "name": "b", "labels": {"team": "birds"}}
    ((_, commands),) = plan_commands([bucket], {"bucket"}, adopt=False)
    assert commands == (bucket.command("update"),)
    gcloud.change(*commands[0])
    assert plane.resources["b/b"]["labels"].keys() == {"team", "kedro_owner"}
    assert plan_commands([bucket], {"bucket"}, adopt=False) == [(bucket, ())]
    theirs, *_ = list_resources(replace(CLOUD, owner=CLOUD.owner.replace("1296269", "666")))
    with pytest.raises(UserError, match=r"labels.kedro_owner is .* and must be"):
        plan_commands([theirs], {"bucket"}, adopt=True)


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
        ("git@work:a/b.git", "", "--server: 'work' is not a host name. Name the host whose CI may launch"),
        ("git@github.com:a/b.git", "--branch x'y", "--branch: 'x'y' cannot be put into the federation's condition."),
        (
            "git@github.com:a/b.git",
            "--branch trunk",
            "--branch trunk: ci.yml runs on pushes to another branch. Change it there first.",
        ),
        ("git@github.com:a/b.git", "--owner-id acme", "argument --owner-id: invalid int value: 'acme'"),
        ("git@github.com:a/b.git", "--mlflow vm:x", "--mlflow vm:x: this must be cloud-run:SERVICE"),
    ],
)
def test_a_mistake_is_a_sentence_before_anything_is_made(origin, arguments, sentence, plane, project, bootstrap):
    done = bootstrap(project(origin), arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert plane.changes == []


def test_two_environments_whose_names_are_long_get_accounts_of_their_own(plane, project, bootstrap):
    made = project(project_name="Customer Churn Prediction")
    names = []
    for env in ("dev", "prod"):
        shutil.copytree(made / "conf/cloud", made / "conf" / env)
        done = run(
            "make", "--silent", "bootstrap", f"ENV={env}", f"ARGS={NUMBERS} --dry-run", cwd=made,
            **plane.environment, CLOUDSDK_CONFIG=str(made / "gcloud"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        filled_in = re.findall(r"would fill in \S+: (\w+): (.*)", done.stdout)
        assert len(filled_in) == 5
        names += filled_in
        role = re.search(r"gcloud iam roles create (\w+)", done.stdout)
        names.append(("role", role[1]))
    assert len(set(names)) == len(names)
    for email in (value for name, value in names if "account" in name):
        assert re.fullmatch("[a-z][a-z0-9-]{4,28}[a-z0-9]", email.partition("@")[0])


@pytest.mark.parametrize(
    ("ci", "remote", "api", "path", "found"),
    [
        ("github", "github.com:acme/penguins", "api.github.com", "/repos/acme/penguins", {"id": 7, "owner": {"id": 8}}),
        (
            "gitlab", "gitlab.com:acme/sub/penguins", "gitlab.com", "/api/v4/projects/acme%2Fsub%2Fpenguins",
            {"id": 7, "namespace": {"id": 8}},
        ),
    ],
)  # fmt: skip
def test_the_git_host_tells_the_numbers_of_the_repository(
    ci, remote, api, path, found, plane, project, bootstrap, google
):
    known = {path: found}

    def answer(_who, method, asked, _query, _body):
        if method != "GET" or asked not in known:
            raise Refused(404, "Not Found")
        return known[asked]

    google.apis[api] = answer
    google.open_hosts.add(api)
    made = project(f"git@{remote}.git", ci=ci)
    trusted = {**google.environment, "SSL_CERT_FILE": google.environment["REQUESTS_CA_BUNDLE"]}
    done = bootstrap(made, "--dry-run", numbers="", **trusted)
    assert done.returncode == 0, done.stderr
    assert "/subject/repository:7:environment:cloud" in done.stdout
    number, owner = ("repository_id", "repository_owner_id") if ci == "github" else ("project_id", "namespace_id")
    condition = done.stdout.replace("""'"'"'""", "'")
    assert f"assertion.{number} == '7' && assertion.{owner} == '8'" in condition
    # It does not tell strangers about a private one.
    known.clear()
    done = bootstrap(made, "--dry-run", numbers="", **trusted)
    assert done.returncode == 2
    assert f"https://{api}{path} does not return the numbers of" in done.stderr
    assert "and add: --repository-id N --owner-id N" in done.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"oidc": {"issuerUri": "https://evil.example.com"}},
            'oidc.issuerUri is "https://evil.example.com" and must be',
        ),
        ({"oidc": {"issuerUri": ISSUER, "jwksJson": '{"keys": []}'}}, "oidc.jwksJson is"),
        (
            {"oidc": {"issuerUri": ISSUER, "allowedAudiences": ["anything"]}},
            'oidc.allowedAudiences is ["anything"] and must be unset',
        ),
        (
            {"attributeMapping": {"google.subject": "assertion.sub"}},
            'attributeMapping is {"google.subject": "assertion.sub"}',
        ),
        ({"attributeMapping": {**HOST.mapping, "google.groups": "assertion.groups"}}, "attributeMapping is"),
        ({"attributeCondition": "true"}, 'attributeCondition is "true" and must be'),
        ({"disabled": True}, "disabled is true and must be unset"),
    ],
)
def test_a_provider_that_differs_in_anything_is_refused_with_what_differs(changed, message, plane, monkeypatch):
    *_, provider = list_resources(CLOUD)
    _let_gcloud_talk_to(plane, monkeypatch)
    name = "projects/project-42/locations/global/workloadIdentityPools/test-project-ci/providers/github"
    right = {
        "name": name, "state": "ACTIVE", "attributeCondition": HOST.condition, "attributeMapping": HOST.mapping,
        "oidc": {"issuerUri": ISSUER}, "description": OWNER,
    }  # fmt: skip
    plane.resources[name] = right
    assert plan_commands([provider], set(), adopt=False) == [(provider, ())]
    plane.resources[name] = right | changed
    with pytest.raises(UserError) as error:
        plan_commands([provider], {"workload_identity_provider"}, adopt=True)
    assert message in str(error.value)


def test_a_pool_with_another_provider_in_it_is_refused(plane, monkeypatch):
    """Whoever owns that provider could let anybody in as this repository."""
    pool = next(resource for resource in list_resources(CLOUD) if resource.only_child)
    _let_gcloud_talk_to(plane, monkeypatch)
    name = "projects/project-42/locations/global/workloadIdentityPools/test-project-ci"
    plane.resources[name] = {"name": name, "state": "ACTIVE", "description": OWNER}
    plane.resources[f"{name}/providers/github"] = {"name": f"{name}/providers/github"}
    assert plan_commands([pool], set(), adopt=False) == [(pool, ())]
    plane.resources[f"{name}/providers/other"] = {"name": f"{name}/providers/other"}
    with pytest.raises(UserError, match="other is in it as well, and may let in anybody"):
        plan_commands([pool], {"workload_identity_provider"}, adopt=True)


def _let_gcloud_talk_to(plane, monkeypatch):
    plane.apis |= set(APIS)
    for name, value in plane.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("named", "changed", "message"),
    [
        (True, {"projectNumber": "666"}, f'projectNumber is "666" and must be "{NUMBER}"'),
        (
            False,
            {
                "iamConfiguration": {
                    "publicAccessPrevention": "inherited",
                    "uniformBucketLevelAccess": {"enabled": False},
                }
            },
            "iamConfiguration.uniformBucketLevelAccess.enabled is unset and must be true; "
            'iamConfiguration.publicAccessPrevention is "inherited" and must be "enforced"',
        ),
    ],
)
def test_all_that_belongs_to_others_or_was_deleted_is_refused_at_once(
    named, changed, message, plane, project, bootstrap
):
    # The bucket's name can be guessed, and a stranger may have been first. What steps read from it is unpickled.
    plane.resources["b/project-42-test-project"] = CLOSED_BUCKET | changed
    # Steps of one environment would otherwise do what only the other one was approved for.
    owner = "Owner: test_project, environment prod, repository 1296269 on token.actions.githubusercontent.com"
    plane.resources[f"projects/project-42/serviceAccounts/{PIPELINE}"] = {"email": PIPELINE, "description": owner}
    # Nobody has named this one in globals.yml, so it cannot be adopted.
    plane.resources[f"projects/project-42/serviceAccounts/{LAUNCHER}"] = {"email": LAUNCHER, "description": "Ours"}
    # A deleted thing is shown as it was, and not only with its state.
    pool = "projects/project-42/locations/global/workloadIdentityPools/test-project-ci"
    plane.resources[pool] = {"name": pool, "state": "DELETED", "description": OWNER}
    role = {"description": OWNER, "includedPermissions": list(LAUNCHER_PERMISSIONS), "deleted": True}
    plane.resources["projects/project-42/roles/test_project_launcher"] = role
    done = bootstrap(project(**({"service_account": PIPELINE} if named else {})), "--adopt")
    assert done.returncode == 2
    assert plane.changes == [("POST", "services:batchEnable")]
    refused = [line for line in done.stderr.splitlines() if "gcloud " in line]
    assert len(refused) == 5
    bucket, pipeline, launcher, role_line, pool_line = refused
    assert message in bucket
    assert "To have another one, change bucket in globals.yml" in bucket
    assert f"service account {PIPELINE} exists, but it is not one that" in pipeline
    assert f'description is "{owner}" and must be "{OWNER}"' in pipeline
    assert "To have another one, change service_account in globals.yml" in pipeline
    assert f"service account {LAUNCHER} exists, but it is not one that CI launches as" in launcher
    assert f'description is "Ours" and must be "{OWNER}"' in launcher
    assert "gcloud iam roles undelete test_project_launcher --project=project-42" in role_line
    assert "federation pool test-project-ci was deleted, and its name cannot be used again for 30 days" in pool_line
    undelete = "gcloud iam workload-identity-pools undelete test-project-ci --location=global --project=project-42"
    assert undelete in pool_line


def test_a_bucket_that_one_may_not_look_at_is_refused(plane, project, bootstrap):
    plane.foreign = {"b/project-42-test-project"}
    done = bootstrap(project())
    assert done.returncode == 2
    assert "gcloud storage buckets describe gs://project-42-test-project" in done.stderr
    assert (
        "does not have permission to access b instance [project-42-test-project] (or it may not exist)" in done.stderr
    )
    assert plane.changes == [("POST", "services:batchEnable")]


def test_the_launcher_may_do_what_launching_asks_for_and_start_no_custom_jobs():
    """A custom job that names no account runs as Vertex AI's own, which may do much in the whole project."""
    asked = {
        permission
        for path in (Path(__file__).parents[1] / "fakes/vertex").glob("*.py")
        for permission in re.findall(r"allow\(\"(aiplatform[.\w]+)\"\)", path.read_text())
    }
    assert "aiplatform.pipelineJobs.create" in asked
    # People delete the job of `doctor --on-vertex`; what CI launches stays. Doctor and people ask for the rest, and without
    # it the commands of CI say so and go on: tests/client/test_client.py.
    of_people = re.compile(r"aiplatform\.(pipelineJobs\.delete|customJobs\.\w+|persistentResources\.get)")
    assert set(LAUNCHER_PERMISSIONS) >= {permission for permission in asked if not of_people.fullmatch(permission)}
    of_launcher = [grant.role for grant in list_grants(CLOUD) if grant.member == f"serviceAccount:{CLOUD.launcher}"]
    assert "roles/aiplatform.user" not in of_launcher
    assert not any("customJobs" in permission for permission in LAUNCHER_PERMISSIONS)


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


def test_every_role_that_is_granted_is_in_the_readme_and_no_other():
    who = {f"serviceAccount:{CLOUD.pipeline}": "pipeline", f"serviceAccount:{CLOUD.launcher}": "launcher"}
    agents = f"serviceAccount:service-{NUMBER}@gcp-sa-aiplatform"
    who |= dict.fromkeys((f"{agents}.iam.gserviceaccount.com", f"{agents}-cc.iam.gserviceaccount.com"), "Vertex AI")
    readme = (PLATFORM / "infra/README.md").read_text()
    own, cloud = f"projects/project-42/roles/{CLOUD.role}", replace(CLOUD, secrets=("chat",))
    granted = {(who.get(grant.member, "CI jobs"), grant.role.replace(own, "")) for grant in list_grants(cloud)}
    rows = re.findall(r"^\| ([\w ]+) \| (?:`(roles/[\w.]+)`|the role \*launcher\*) \|", readme, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == granted
    assert set(re.findall(r"`(aiplatform\.[\w.]+)`", readme)) == set(LAUNCHER_PERMISSIONS)
