"""Which CI jobs may get Google credentials: the provider's condition, run by a real evaluator of its language."""

from argparse import Namespace
from pathlib import Path

import pytest
from fakes.federation import evaluate
from running import run

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.infra.git_host import Host, find_host

GITHUB = Host(
    "github", "https://token.actions.githubusercontent.com", "acme/penguins", "1296269", "583231", "main", "cloud"
)
GITLAB = Host("gitlab", "https://gitlab.com", "acme/sub/penguins", "278964", "9970", "main", "cloud")
# The claims in the ID token of a job on the main branch:
# https://docs.github.com/en/actions/reference/security/oidc, https://docs.gitlab.com/ci/secrets/id_token_authentication
OF_GITHUB = {
    "repository": "acme/penguins", "repository_id": "1296269", "repository_owner_id": "583231",
    "ref": "refs/heads/main", "event_name": "push",
    "workflow_ref": "acme/penguins/.github/workflows/ci.yml@refs/heads/main", "environment": "cloud",
}  # fmt: skip
OF_GITLAB = {
    "project_path": "acme/sub/penguins", "project_id": "278964", "namespace_id": "9970", "ref": "main", "ref_type": "branch",
    "ref_protected": "true", "pipeline_source": "push", "environment": "cloud",
}  # fmt: skip


@pytest.mark.parametrize(
    ("host", "claims", "allowed"),
    [
        (GITHUB, OF_GITHUB, True),
        (GITHUB, OF_GITHUB | {"event_name": "workflow_dispatch"}, True),
        (GITHUB, OF_GITHUB | {"event_name": "pull_request", "ref": "refs/pull/7/merge"}, False),
        # The name was given up, and somebody else has registered it.
        (GITHUB, OF_GITHUB | {"repository_id": "1296270"}, False),
        (GITHUB, OF_GITHUB | {"repository_owner_id": "583232"}, False),
        (GITHUB, OF_GITHUB | {"event_name": "schedule"}, False),
        (GITHUB, OF_GITHUB | {"event_name": "repository_dispatch"}, False),
        (GITHUB, OF_GITHUB | {"ref": "refs/heads/main2"}, False),
        (GITHUB, OF_GITHUB | {"ref": "refs/tags/main"}, False),
        (GITHUB, OF_GITHUB | {"environment": "cloud/."}, False),
        # Started by a stranger's pull request, on the main branch.
        (GITHUB, OF_GITHUB | {"workflow_ref": "acme/penguins/.github/workflows/label.yml@refs/heads/main"}, False),
        (GITLAB, OF_GITLAB, True),
        (GITLAB, OF_GITLAB | {"pipeline_source": "web"}, True),
        (GITLAB, OF_GITLAB | {"project_id": "278965"}, False),
        (GITLAB, OF_GITLAB | {"namespace_id": "9971"}, False),
        (GITLAB, OF_GITLAB | {"pipeline_source": "trigger"}, False),
        (GITLAB, OF_GITLAB | {"ref": "feature"}, False),
        (GITLAB, OF_GITLAB | {"ref_type": "tag"}, False),
        (GITLAB, OF_GITLAB | {"ref_protected": "false"}, False),
        (GITLAB, OF_GITLAB | {"environment": "prod"}, False),
    ],
)
def test_only_ci_jobs_of_the_repositorys_main_branch_get_credentials(host, claims, allowed):
    assert bool(evaluate(host.condition, claims)) is allowed
    # Nothing else is bound: in the pool, a job is known by this subject alone.
    assert list(host.mapping) == ["google.subject"]
    subject = evaluate(host.mapping["google.subject"], claims)
    assert len(subject) < 127
    assert subject == host.subject or not allowed


def test_a_token_for_another_project_or_environment_of_gitlab_has_another_audience():
    assert GITLAB.audience == "https://gitlab.com/projects/278964/environments/cloud"


ARGUMENTS = Namespace(
    server=None, repository=None, repository_id=1296269, owner_id=583231, branch="main", env="cloud", workflow=None
)  # fmt: skip


def adopted(folder: Path, *workflows: str) -> Path:
    """A project with these workflows, pushed to GitHub."""
    for name in workflows:
        (folder / ".github/workflows").mkdir(parents=True, exist_ok=True)
        (folder / ".github/workflows" / name).write_text("on: {push: {branches: [main]}}\n")
    for command in (["init", "-q"], ["remote", "add", "origin", "git@github.com:acme/penguins.git"]):
        assert run("git", *command, cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("workflows", "chosen", "expected"),
    [
        (["ci.yml"], None, "ci.yml"),
        # The template's workflow in a project that had a ci.yml of its own, which launches nothing.
        (["ci.yml", "vertexai.yml"], None, "vertexai.yml"),
        (["ci.yml", "vertexai.yml", "launch.yaml"], "launch.yaml", "launch.yaml"),
    ],
)
def test_the_workflow_that_launches_is_let_in_and_no_other(workflows, chosen, expected, tmp_path):
    host = find_host(adopted(tmp_path, *workflows), Namespace(**{**vars(ARGUMENTS), "workflow": chosen}))
    for name in workflows:
        claims = OF_GITHUB | {"workflow_ref": f"acme/penguins/.github/workflows/{name}@refs/heads/main"}
        assert bool(evaluate(host.condition, claims)) is (name == expected)


@pytest.mark.parametrize("chosen", ["other.yml", "../ci.yml", "x'y.yml"])
def test_a_workflow_that_is_not_there_is_named(chosen, tmp_path):
    with pytest.raises(UserError, match=r"--workflow .*: there is no file \.github/workflows/"):
        find_host(adopted(tmp_path, "ci.yml"), Namespace(**{**vars(ARGUMENTS), "workflow": chosen}))
