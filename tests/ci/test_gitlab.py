"""The generated GitLab pipeline, really executed: from ``git push`` to a finished MLflow run, and on bad days."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from docker_engine import missing
from running import BIN, ROOT, commit, run

# A pipeline installs, builds and runs everything, beside other tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

# What gitlab-ci-local reads besides: no service is started, the engine is that of the tests.
WITHOUT_SERVICES = "launch:\n  services: []\n"
# Of the job's image, which is this machine here: docker is there already.
APT_GET = '#!/bin/sh\necho "apt-get $*"\n'
# Variables that somebody who starts a pipeline may set. None of them decides who gets the job's token.
OF_STRANGERS = {
    "workload_identity_provider": "projects/666/locations/global/workloadIdentityPools/p/providers/p",
    "ci_service_account": "strangers@project-666.iam.gserviceaccount.com",
    "GOOGLE_APPLICATION_CREDENTIALS": "/dev/null",
    "FEDERATION": "/dev/null",
    "JOB": "of-a-stranger",
    "IMAGE": "evil.example.com/image:latest",
}


@pytest.fixture
def ci() -> str:
    return "gitlab"


@pytest.fixture
def pipeline(
    docker, python, pipeline_environment, git_host, bootstrapped, overlay, tmp_path
) -> Callable[..., list[str]]:
    """The command line by which gitlab-ci-local runs a project's pipeline for an event, on this machine."""
    if shutil.which("rsync") is None:
        missing("gitlab-ci-local needs rsync: apt-get install rsync")
    (python / "apt-get").write_text(APT_GET)
    (python / "apt-get").chmod(0o755)

    (overlay / ".gitlab-ci-local.yml").write_text(WITHOUT_SERVICES)

    def pipeline(_project: Path, event: str, *options: str) -> list[str]:
        # The engine of the service is the one of the tests, and the token is the one that GitLab would put in.
        engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        replaced = {"DOCKER_HOST": engine, "DOCKER_TLS_VERIFY": "", "ID_TOKEN": git_host.token(bootstrapped.audience)}
        given = {"CI_PIPELINE_SOURCE": event, **OF_STRANGERS, **(replaced if event != "merge_request_event" else {})}
        return [
            "env", *(f"{name}={value}" for name, value in pipeline_environment.items()),
            str(BIN / "node"), str(ROOT / ".venv/npm/node_modules/.bin/gitlab-ci-local"),
            "--force-shell-executor", "--shell-isolation", "--home", str(tmp_path / "home"),
            "--ignore-predefined-vars", "CI_PIPELINE_SOURCE",
            *(item for name, value in given.items() for item in ("--variable", f"{name}={value}")), *options,
        ]  # fmt: skip

    return pipeline


def test_a_push_ends_in_a_finished_run_that_names_commit_and_digest(launchable_project, push, finished_run, tmp_path):
    head = run("git", "rev-parse", "HEAD", cwd=launchable_project).stdout.strip()
    done = push(launchable_project)
    printed = done.stdout + done.stderr
    print(printed)
    name, page = finished_run(head, printed)
    report = json.loads(left_by(tmp_path, "launch", "annotations.json"))
    links = {link["external_link"]["label"]: link["external_link"]["url"] for link in report["Pipeline"]}
    assert links["MLflow run: FINISHED"] == page
    assert links[f"Vertex AI job {name}: SUCCEEDED"].startswith("https://console.cloud.google.com/vertex-ai/")
    assert f"<title>{name}: succeeded</title>" in left_by(tmp_path, "launch", "job.html")
    assert list((tmp_path / "checkout").rglob(".federation")) == []


def test_with_launch_false_a_push_only_builds_and_a_digest_is_launched_without_a_build(
    launchable_project, push, overlay, vertex, tmp_path
):
    variables = overlay / ".gitlab-ci-local-variables.yml"
    variables.write_text("LAUNCH: 'false'\n")
    printed = push(launchable_project).stderr
    summary = left_by(tmp_path, "launch", "summary.md")
    assert "Not launched, as the variable LAUNCH is false" in summary, printed
    assert vertex.requests == []
    image, digest = re.search(r"image (\S+@(sha256:[0-9a-f]{64})), built on ", summary).groups()
    # Somebody gives the digest, which is the default here, as gitlab-ci-local has no form.
    variables.unlink()
    file = launchable_project / ".gitlab-ci.yml"
    before, name, after = file.read_text().partition("    digest:\n")
    file.write_text(before + name + after.replace('default: ""', f'default: "{digest}"', 1))
    commit(launchable_project)
    for left in ("host.git", "checkout"):
        shutil.rmtree(tmp_path / left)
    printed = push(launchable_project).stderr
    assert f"image {image}\n" in left_by(tmp_path, "launch", "summary.md"), printed
    (job,) = vertex.jobs.values()
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {image}


def test_a_model_is_promoted_by_hand_and_nothing_is_launched(
    model_to_promote, was_promoted, launchable_project, pipeline
):
    file = launchable_project / ".gitlab-ci.yml"
    text = file.read_text()
    for name, value in (("promote_from", "cloud"), ("model_version", model_to_promote)):
        before, key, after = text.partition(f"    {name}:\n")
        text = before + key + after.replace('default: ""', f'default: "{value}"', 1)
    file.write_text(text)
    commit(launchable_project)
    done = run(*pipeline(launchable_project, "web"), cwd=launchable_project, timeout=1200)
    printed = done.stdout + done.stderr
    print(printed)
    assert done.returncode == 0
    was_promoted(printed)


def left_by(tmp_path: Path, job: str, artifact: str) -> str:
    """A file that a job leaves for GitLab."""
    return (tmp_path / "checkout/.gitlab-ci-local/builds" / job / artifact).read_text()


def test_a_job_that_fails_is_summed_up_as_well(bake):
    """GitLab runs ``after_script`` after a failure too; what the summary then says, test_github.py has executed."""
    *_, file = yaml.safe_load_all((bake(ci="gitlab") / ".gitlab-ci.yml").read_text())
    launch = file["launch"]
    script = "\n".join(launch["after_script"])
    assert "make --silent summary >> summary.md" in script
    assert "make --silent summary FORMAT=annotations > annotations.json" in script
    assert "make --silent page" in script
    assert launch["artifacts"]["when"] == "always"
    assert launch["artifacts"]["paths"] == ["summary.md", "job.html", "sbom.json"]
    assert launch["artifacts"]["reports"]["annotations"] == "annotations.json"


def test_a_failing_test_stops_before_the_build(launchable_project, push, vertex):
    (launchable_project / "tests/test_planted.py").write_text('def test_planted():\n    assert len("ab") == 3\n')
    commit(launchable_project)
    done = push(launchable_project)
    printed = done.stdout + done.stderr
    assert "FAIL  check" in printed
    assert "AssertionError: assert 2 == 3" in printed
    assert "docker-login" not in printed
    assert vertex.requests == []


def test_a_merge_request_is_checked_and_gets_no_identity(launchable_project, pipeline, vertex):
    # It changes no lock, compared with the branch it is to be merged into.
    for command in (
        ["remote", "add", "origin", "git@gitlab.com:acme/penguins.git"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
    ):
        assert run("git", *command, cwd=launchable_project).returncode == 0
    done = run(*pipeline(launchable_project, "merge_request_event"), cwd=launchable_project, timeout=1200)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "PASS  check" in printed
    assert not {"launch", "audit"} & set(printed.partition("PASS")[2].split())
    assert vertex.requests == []
