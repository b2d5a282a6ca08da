"""No workflow runs on the main branch for what strangers do: it could write the cache that builds on main read."""

from pathlib import Path

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github/workflows").glob("*.y*ml"))
# A pull request's run is not of the main branch. pull_request_target, issue_comment, workflow_run and others are.
HARMLESS = {"pull_request", "push", "schedule", "workflow_call", "workflow_dispatch"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_runs_on_the_main_branch_for_others(workflow):
    # In YAML 1.1, the key "on" is the boolean true.
    triggers = yaml.safe_load(workflow.read_text(encoding="utf-8"))[True]
    names = {triggers} if isinstance(triggers, str) else set(triggers)
    assert names <= HARMLESS
