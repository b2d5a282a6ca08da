"""Which CI jobs may get Google credentials: the provider's condition, run by a real evaluator of its language."""

import pytest
from fakes.federation import evaluate
from wanted import Host

GITHUB = Host("github", "https://token.actions.githubusercontent.com", "acme/penguins", "main", "cloud")
GITLAB = Host("gitlab", "https://gitlab.com", "acme/sub/penguins", "main", "cloud", audience="https://gitlab.com")
# The claims in the ID token of a job on the main branch:
# https://docs.github.com/en/actions/reference/security/oidc, https://docs.gitlab.com/ci/secrets/id_token_authentication
OF_GITHUB = {
    "repository": "acme/penguins", "repository_id": "1296269", "ref": "refs/heads/main", "event_name": "push",
    "workflow_ref": "acme/penguins/.github/workflows/ci.yml@refs/heads/main", "environment": "cloud",
}  # fmt: skip
OF_GITLAB = {
    "project_path": "acme/sub/penguins", "project_id": "278964", "ref": "main", "ref_type": "branch",
    "ref_protected": "true", "pipeline_source": "push", "environment": "cloud",
}  # fmt: skip


@pytest.mark.parametrize(
    ("host", "claims", "allowed"),
    [
        (GITHUB, OF_GITHUB, True),
        (GITHUB, OF_GITHUB | {"event_name": "workflow_dispatch"}, True),
        (GITHUB, OF_GITHUB | {"event_name": "pull_request", "ref": "refs/pull/7/merge"}, False),
        (GITHUB, OF_GITHUB | {"repository": "fork/penguins"}, False),
        (GITHUB, OF_GITHUB | {"repository": "acme/penguins-too"}, False),
        (GITHUB, OF_GITHUB | {"ref": "refs/heads/main2"}, False),
        (GITHUB, OF_GITHUB | {"ref": "refs/tags/main"}, False),
        (GITHUB, OF_GITHUB | {"environment": "cloud/."}, False),
        # Started by a stranger's pull request, on the main branch.
        (GITHUB, OF_GITHUB | {"workflow_ref": "acme/penguins/.github/workflows/label.yml@refs/heads/main"}, False),
        (GITLAB, OF_GITLAB, True),
        (GITLAB, OF_GITLAB | {"project_path": "fork/sub/penguins"}, False),
        (GITLAB, OF_GITLAB | {"ref": "feature"}, False),
        (GITLAB, OF_GITLAB | {"ref_type": "tag"}, False),
        (GITLAB, OF_GITLAB | {"ref_protected": "false"}, False),
        (GITLAB, OF_GITLAB | {"environment": "prod"}, False),
    ],
)
def test_only_ci_jobs_of_the_repositorys_main_branch_get_credentials(host, claims, allowed):
    assert bool(evaluate(host.condition, claims)) is allowed
    mapped = {name: evaluate(source, claims) for name, source in host.mapping.items()}
    assert len(mapped["google.subject"]) < 127
    assert mapped["attribute.repository"] == (claims.get("repository") or claims["project_path"])
