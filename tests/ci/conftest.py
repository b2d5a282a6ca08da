"""What the executed CI pipelines share: an environment, a project to push, the git host, and the cloud it launches in."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from docker_engine import BASE
from fakes.federation import Federation, GitHost
from fakes.google_identity import Google
from mlflow.entities import Run
from registered_model import register_model
from running import BIN, commit, run
from small_cloud import LAUNCHER, answers, configure, name_experiment

from vertexai_mlflow.infra.git_host import Host

REPOSITORY = "acme/penguins"
POOL = "projects/1/locations/global/workloadIdentityPools"
HOSTS = {
    "github": Host(
        "github", "https://token.actions.githubusercontent.com", REPOSITORY, "1296269", "583231", "main", "cloud"
    ),
    "gitlab": Host("gitlab", "https://gitlab.com", REPOSITORY, "278964", "9970", "main", "cloud"),
}
CLAIMS = {
    "github": {
        "sub": "repo:acme@583231/penguins@1296269:environment:cloud", "repository": REPOSITORY,
        "repository_id": "1296269", "repository_owner_id": "583231", "ref": "refs/heads/main", "environment": "cloud",
        "event_name": "push",
        "workflow_ref": f"{REPOSITORY}/.github/workflows/ci.yml@refs/heads/main",
    },
    "gitlab": {
        "sub": f"project_path:{REPOSITORY}:ref_type:branch:ref:main", "project_id": "278964",
        "namespace_id": "9970", "environment": "cloud", "project_path": REPOSITORY, "ref": "main",
        "ref_type": "branch", "ref_protected": "true", "pipeline_source": "push",
    },
}  # fmt: skip
# What a git host does with a push: check the commit out and run its pipeline.
HOOK = """#!/bin/sh
set -e
unset GIT_DIR
while read -r _old new _ref; do
    git clone -q "$PWD" {checkout}
    cd {checkout}
    git checkout -q -B main "$new"
    git remote set-url origin git@{host}.com:{repository}.git
    cp -r {overlay}/. .
    exec {command}
done
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment of the pipelines' own, into which ``make install`` installs.

    They run one after the other, and what the first one has installed and compiled is there for the next.
    """
    folder = tmp_path_factory.mktemp("python")
    done = run(BIN / "uv", "venv", "--quiet", "--python", BIN / "python", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    # uv's pip, which has the packages at hand below the real home, and not by way of the stand-in for Google's hosts.
    pip = folder / "bin/pip"
    variables = f"HOME={Path.home()} VIRTUAL_ENV={folder}"
    pip.write_text(f'#!/bin/sh\nexec env -u HTTPS_PROXY {variables} {BIN / "uv"} pip --quiet "$@"\n')
    pip.chmod(0o755)
    return folder / "bin"


@pytest.fixture
def bootstrapped(ci: str) -> Host:
    """The host, as ``make bootstrap`` lets it in."""
    return HOSTS[ci]


@pytest.fixture
def git_host(ci: str) -> GitHost:
    """The host, as which it signs the tokens of its jobs; ``ci`` is a constant of each module."""
    return GitHost(HOSTS[ci].issuer, CLAIMS[ci])


@pytest.fixture
def provider(ci: str) -> str:
    return f"{POOL}/{ci}/providers/penguins"


@pytest.fixture
def federation(google: Google, git_host: GitHost, bootstrapped: Host, ci: str, provider: str) -> Federation:
    """Google's side of it, as ``make bootstrap`` sets it up."""
    audiences = [bootstrapped.audience] if bootstrapped.audience else []
    oidc = {"issuerUri": bootstrapped.issuer, "allowedAudiences": audiences}
    condition, mapping = bootstrapped.condition, bootstrapped.mapping
    return Federation(
        google,
        [git_host],
        {provider: {"oidc": oidc, "attributeMapping": mapping, "attributeCondition": condition}},
        {LAUNCHER: {f"principal://iam.googleapis.com/{POOL}/{ci}/subject/{bootstrapped.subject}"}},
    )


@pytest.fixture
def pipeline_environment(google: Google, python: Path, tmp_path: Path) -> dict[str, str]:
    """Environment variables of the pipeline's jobs.

    They have no identity but the one they are given by the host, and a home of their own: docker keeps logins there.
    """
    home = tmp_path / "home"
    home.mkdir()
    # As on a real runner, and worth half of each command's time.
    bytecode = {"PYTHONDONTWRITEBYTECODE": ""}
    nowhere = {"GCE_METADATA_HOST": "127.0.0.1:9", "GCE_METADATA_IP": "127.0.0.1:9", "NO_GCE_CHECK": "true"}
    kept = {
        name: value for name, value in os.environ.items() if name == "DOCKER_HOST" or name.startswith(("PIP_", "SSL_"))
    }
    path = f"{python}{os.pathsep}{os.environ['PATH']}"
    return {**google.environment, **nowhere, "PATH": path, "HOME": str(home), "DO_NOT_TRACK": "1", **bytecode, **kept}


@pytest.fixture
def launchable_project(
    docker, make_project, registry, google, vertex, iap, federation, provider, ci, tmp_path, request
) -> Path:
    """A project whose facts are filled in; its jobs run in the image that was pushed."""
    project = make_project(ci=ci, **answers(iap))
    globals_ = project / "conf/cloud/globals.yml"
    facts = yaml.safe_load(globals_.read_text()) | {
        "artifact_registry": f"{registry}/project-42/images",
        "ci_service_account": LAUNCHER,
        "workload_identity_provider": provider,
    }
    globals_.write_text(yaml.safe_dump(facts))
    # A real registry, which stands in for the hub, knows the base image's digest.
    base = f"{registry}/{BASE}"
    assert docker("tag", BASE, base).returncode == docker("push", base).returncode == 0
    dockerfile = project / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace(f"ARG BASE_IMAGE={BASE}\n", f"ARG BASE_IMAGE={base}\n"))
    name_experiment(project, request.node.originalname)
    configure(project, api_endpoint=vertex.url)
    commit(project)
    vertex.mount, vertex.inside, vertex.cwd = tmp_path, google.environment, project
    vertex.token = f"access-token-of-{LAUNCHER}"
    return project


@pytest.fixture
def model_to_promote(launchable_project, mlflow_url, ci, tmp_path, request) -> str:
    """The number of a version that no job of CI has made, in a registry that the project names."""
    name, experiment = f"promoted-by-{ci}", request.node.originalname
    mlflow.set_tracking_uri(mlflow_url)
    try:
        mlflow.set_experiment(experiment)
        number = register_model(name, "forest", tmp_path, experiment)
    finally:
        mlflow.set_tracking_uri(None)
    settings = launchable_project / "conf/cloud/vertexai.yml"
    content = yaml.safe_load(settings.read_text())
    content["run_config"]["registry"] = {"model": "model", "name": name}
    settings.write_text(yaml.safe_dump(content))
    commit(launchable_project)
    return number


@pytest.fixture
def was_promoted(model_to_promote, mlflow_url, ci, iap, vertex) -> Callable[[str], None]:
    """That the pipeline said so and did it, as the launcher and through IAP, and launched nothing."""

    def was_promoted(printed: str) -> None:
        name, number = f"promoted-by-{ci}", model_to_promote
        assert f"{name} version {number} of cloud is the champion now; there was none." in printed
        model = mlflow.MlflowClient(mlflow_url).get_registered_model(name)
        assert {alias: str(version) for alias, version in model.aliases.items()} == {"champion": number}
        assert iap.refused == []
        assert vertex.requests == []

    return was_promoted


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Files that the host puts into its checkout."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    return folder


@pytest.fixture
def push(pipeline, overlay, ci, tmp_path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """``git push`` a project to a host that runs its pipeline."""

    def push(project: Path) -> subprocess.CompletedProcess[str]:
        host = tmp_path / "host.git"
        assert run("git", "init", "-q", "--bare", host, cwd=tmp_path).returncode == 0
        command = " ".join(f"'{item}'" for item in pipeline(project, "push"))
        hook = host / "hooks/post-receive"
        checkout = tmp_path / "checkout"
        hook.write_text(
            HOOK.format(checkout=checkout, command=command, host=ci, repository=REPOSITORY, overlay=overlay)
        )
        hook.chmod(0o755)
        return run("git", "push", str(host), "HEAD:main", cwd=project, timeout=1200)

    return push


@pytest.fixture
def run_of(mlflow_url, request) -> Callable[[str], list[Run]]:
    """The MLflow runs of a commit."""

    def run_of(commit: str) -> list[Run]:
        client = mlflow.MlflowClient(mlflow_url)
        experiment = client.get_experiment_by_name(request.node.originalname)
        if experiment is None:
            return []
        return client.search_runs([experiment.experiment_id], f"tags.`mlflow.source.git.commit` = '{commit}'")

    return run_of


@pytest.fixture
def finished_run(run_of, vertex, iap, docker, tmp_path) -> Callable[[str, str], tuple[str, str]]:
    """A commit's one run, which finished by the image's digest, and of which the pipeline says so in what it printed."""

    def finished_run(commit: str, printed: str) -> tuple[str, str]:
        (mlflow_run,) = run_of(commit)
        assert mlflow_run.info.status == "FINISHED"
        (job,) = vertex.jobs.values()
        name, image = mlflow_run.data.tags["vertexai_job_name"], mlflow_run.data.tags["vertexai_image"]
        assert name == job["name"].rpartition("/")[2]
        assert re.fullmatch(r"127\.0\.0\.1:\d+/project-42/images/test-project@sha256:[0-9a-f]{64}", image)
        executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
        assert {executor["container"]["image"] for executor in executors} == {image}
        # What the image was built on is said, and is in it.
        built_on = re.search(rf"commit {commit}, image {image}, built on (\S+/{BASE}@sha256:[0-9a-f]{{64}})", printed)
        labels = docker("image", "inspect", "--format", "{{ json .Config.Labels }}", image).stdout
        assert json.loads(labels)["org.opencontainers.image.base.name"] == built_on[1]
        # Docker's settings have no login left: a runner of one's own would keep it.
        settings = [json.loads(file.read_text()) for file in (tmp_path / "home").rglob("config.json")]
        assert [settings for login in settings if login.get("auths")] == []
        assert re.search(rf"\| job \| \[{name}\]\(https://console", printed)
        run = f"#/experiments/{mlflow_run.info.experiment_id}/runs/{mlflow_run.info.run_id}"
        page = f"{iap.url}/{run}?workflowType=machine_learning"
        assert f"| MLflow run | [FINISHED]({page})" in printed
        assert "access-token-of" not in printed
        assert iap.refused == []
        return name, page

    return finished_run
