"""Each command once as its user starts it: in an interpreter that has imported nothing yet.

Other tests fork their commands of an interpreter that has imported what they need, and so would not notice an import
that a command has forgotten.
"""

import re

import pytest
from running import BIN, run
from small_cloud import answers

from vertexai_mlflow.cli import COMMANDS

pytestmark = pytest.mark.slow

# The tests of these start them cold.
ELSEWHERE = {"docker-login", "push", "run-local", "upload-data"}
WITH_ITS_ARGUMENTS = [
    ["compile"], ["plan"], ["facts"], ["doctor"], ["schedule", "--dry-run"], ["ui"], ["run-once", "--job-id", "JOB"],
    ["list-pipelines"], ["status", "JOB"], ["logs", "JOB"], ["cancel", "JOB"], ["resume", "cold", "--dry-run", "--job-id", "next"],
    ["bootstrap", "--help"], ["plans"], ["promote", "--dry-run"],
]  # fmt: skip


def test_a_command_started_for_itself_does_what_its_fork_does(bake, launchable, google, cloud, vertex, iap):
    vertex.execute = False
    schedule = "schedules: {default_schedule: {cron_expression: 0 6 * * *}}"
    project = launchable(bake(**answers(iap)), schedule)
    for arguments in WITH_ITS_ARGUMENTS:
        outcomes = []
        for job in ("cold", "fork"):
            argv = [argument.replace("JOB", job) for argument in arguments]
            done = run(
                BIN / "kedro", "vertexai", "-e", "cloud", *argv, cwd=project, cold=job == "cold", **google.environment
            )
            outcomes.append(
                (done.returncode, *(re.sub("cold|fork", "JOB", text) for text in (done.stdout, done.stderr)))
            )
        assert outcomes[0] == outcomes[1], arguments
        for started in vertex.jobs.values():
            started |= {"state": "PIPELINE_STATE_SUCCEEDED", "endTime": started["createTime"]}
    assert {first for first, *_ in WITH_ITS_ARGUMENTS} | ELSEWHERE == set(COMMANDS)
