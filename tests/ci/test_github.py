"""The generated GitHub workflow, really executed: from ``git push`` to a finished MLflow run, and on bad days."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.comments import REPOSITORY, TOKEN, comments
from fakes.federation import token_endpoint
from fakes.read_only_registry import read_only_registry
from running import BIN, commit, run
from small_cloud import LAUNCHER, set_fact

# A pipeline installs, builds and runs everything, beside other tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ACTIONS = Path(__file__).with_name("actions")
STAND_INS = {
    "actions/checkout": "checkout",
    "actions/download-artifact": "download-artifact",
    "actions/upload-artifact": "upload-artifact",
    "actions/setup-python": "setup-python",
    "google-github-actions/auth": "google-auth",
    "docker/setup-buildx-action": "setup-buildx",
    "docker/build-push-action": "build-push",
}


@pytest.fixture
def ci() -> str:
    return "github"


@pytest.fixture
def pipeline(docker, pipeline_environment, git_host, tmp_path) -> Iterator[Callable[..., list[str]]]:
    """The command line by which act runs a project's workflow for an event, on this machine."""
    with token_endpoint(git_host) as endpoint:

        def pipeline(project: Path, event: str, *options: str) -> list[str]:
            workflow = (project / ".github/workflows/ci.yml").read_text()
            replaced = [
                f"--local-repository={action}@{pin}={ACTIONS / STAND_INS[action]}"
                for action, pin in sorted(set(re.findall(r"uses: (\S+)@([0-9a-f]{40})", workflow)))
            ]
            variables = {**pipeline_environment, **endpoint, "ARTIFACTS": str(tmp_path / "kept")}
            given = [item for name, value in variables.items() for item in ("--env", f"{name}={value}")]
            runner = ["-P", "ubuntu-latest=-self-hosted", "--action-offline-mode"]
            # The audit is a workflow of its own that asks a database on the network, and is tried elsewhere.
            only = ["--workflows", ".github/workflows/ci.yml"]
            return [str(BIN / "act"), event, *only, *runner, *replaced, *given, *options]

        yield pipeline


def test_a_push_ends_in_a_finished_run_that_names_commit_and_digest(launchable_project, push, finished_run, tmp_path):
    head = run("git", "rev-parse", "HEAD", cwd=launchable_project).stdout.strip()
    done = push(launchable_project)
    printed = done.stdout + done.stderr
    print(printed)
    finished_run(head, printed)
    assert printed.count("🏁  Job succeeded") == 2
    contents = json.loads((tmp_path / "kept/sbom/sbom.json").read_text())
    assert contents["metadata"]["component"]["version"].startswith("sha256:")
    kinds = {component["purl"].partition("/")[0] for component in contents["components"]}
    assert {"pkg:generic", "pkg:pypi"} <= kinds


def test_a_manual_run_of_a_failing_node_is_red_and_the_node_is_in_the_summary(
    launchable_project, pipeline, run_of, vertex, git_host, federation, provider, bootstrapped
):
    """With an environment, a pipeline and parameters of one's own."""
    (launchable_project / "conf/cloud").rename(launchable_project / "conf/staging")
    head = commit(launchable_project)
    # Staging is let in by a provider of its own.
    staging = replace(bootstrapped, environment="staging")
    git_host.claims = git_host.claims | {"environment": "staging", "sub": staging.subject}
    federation.providers[provider]["attributeCondition"] = staging.condition
    for account, members in federation.users.items():
        federation.users[account] = {member.replace(bootstrapped.subject, staging.subject) for member in members}
    chosen = {"environment": "staging", "pipeline": "penguins", "params": "forest.n_estimators=-1"}
    inputs = [item for name, value in chosen.items() for item in ("--input", f"{name}={value}")]
    done = run(*pipeline(launchable_project, "workflow_dispatch", *inputs), cwd=launchable_project, timeout=1200)
    printed = done.stdout + done.stderr
    print(printed)
    assert done.returncode == 1
    assert "Error: Job 'launch' failed" in printed
    assert "| failed_node | train_forest |" in printed
    assert re.search(r"\| error \| InvalidParameterError: The 'n_estimators' parameter", printed)
    assert "| step train-forest | FAILED: exit code 1, [log](https://console" in printed
    assert re.search(r"Kept as job-page: job.html, \d+ bytes", printed)
    (mlflow_run,) = run_of(head)
    assert (mlflow_run.info.status, mlflow_run.data.tags["failed_node"]) == ("FAILED", "train_forest")
    (job,) = vertex.jobs.values()
    assert (job["labels"]["kedro_env"], job["labels"]["kedro_pipeline"]) == ("staging", "penguins")
    assert not any("/schedules" in request for request in vertex.requests)


def test_a_model_is_promoted_by_hand_and_nothing_is_launched(
    model_to_promote, was_promoted, launchable_project, pipeline
):
    inputs = ["--input", "promote_from=cloud", "--input", f"model_version={model_to_promote}"]
    done = run(*pipeline(launchable_project, "workflow_dispatch", *inputs), cwd=launchable_project, timeout=1200)
    printed = done.stdout + done.stderr
    print(printed)
    assert done.returncode == 0
    was_promoted(printed)
    assert "[ci/launch]" not in printed


def test_a_denied_push_says_which_role(launchable_project, push, vertex):
    with read_only_registry() as address:
        set_fact(launchable_project, "artifact_registry", f"{address}/project-42/images")
        printed = push(launchable_project).stderr
    print(printed)
    assert "denied: Permission" in printed
    assert f"grant {LAUNCHER} roles/artifactregistry.writer on {address}/project-42/images" in printed
    assert "Error: Job 'launch' failed" in printed
    assert vertex.requests == []


def test_a_rerun_of_an_old_run_does_not_launch_its_old_code(launchable_project, pipeline, vertex):
    old = run("git", "rev-parse", "HEAD", cwd=launchable_project).stdout.strip()
    (launchable_project / "README.md").write_text("Newer\n")
    commit(launchable_project)
    for command in (["branch", "-f", "newest"], ["reset", "-q", "--hard", old], ["checkout", "-q", "-B", "main"]):
        assert run("git", *command, cwd=launchable_project).returncode == 0
    # A run of the branch that has moved on, run again.
    event = launchable_project.parent / "event.json"
    event.write_text('{"ref": "refs/heads/newest"}')
    again = ["--env", "GITHUB_RUN_ATTEMPT=2", "--eventpath", str(event), "--job", "launch"]
    done = run(*pipeline(launchable_project, "push", *again), cwd=launchable_project, timeout=1200)
    printed = done.stdout + done.stderr
    print(printed)
    assert "The branch has a newer commit than this run. Run the workflow anew" in printed
    assert "Run Main make login" not in printed
    assert vertex.requests == []


def test_placeholders_left_in_stop_it_with_their_names(make_project, push, vertex):
    printed = push(make_project()).stderr
    assert "Failure - Main make doctor plans" in printed
    for name in ("client_id: <oauth-client-id>", "service_account: <service-account-email>"):
        assert f"Not filled in yet: conf/cloud/globals.yml: {name}" in printed
    assert "[ci/launch]" not in printed


def test_a_pull_request_is_checked_and_gets_no_identity_and_a_comment_with_what_it_changes(
    launchable_project, pipeline, vertex, tmp_path
):
    base = run("git", "rev-parse", "HEAD", cwd=launchable_project).stdout.strip()
    settings = launchable_project / "conf/base/vertexai.yml"
    settings.write_text(settings.read_text().replace("memory: 2Gi", "memory: 4Gi"))
    commit(launchable_project)
    origin = f"git@github.com:{REPOSITORY}.git"
    assert run("git", "remote", "add", "origin", origin, cwd=launchable_project).returncode == 0
    event = tmp_path / "event.json"
    repository = {"full_name": REPOSITORY, "name": "penguins", "owner": {"login": "acme"}}
    request = {"number": 7, "base": {"sha": base, "ref": "main"}, "head": {"repo": repository, "ref": "more-memory"}}
    event.write_text(json.dumps({"pull_request": request, "repository": repository}))
    with comments("github") as host:
        options = [
            "--eventpath",
            str(event),
            "--env",
            f"GITHUB_API_URL={host.url}",
            "--secret",
            f"GITHUB_TOKEN={TOKEN}",
        ]
        done = run(*pipeline(launchable_project, "pull_request", *options), cwd=launchable_project, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flowchart TD" in done.stdout
    assert "google-github-actions/auth" not in done.stdout
    assert "[ci/launch]" not in done.stdout
    assert vertex.requests == []
    (comment,) = host.comments
    assert "resources: memory 2Gi → 4Gi |" in comment["body"]
    assert "No schedule changes." in comment["body"]
