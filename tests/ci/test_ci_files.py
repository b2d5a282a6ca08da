"""What both CI files must say, read from the files.

The pipelines are executed in ``test_github.py`` and ``test_gitlab.py``. What both files leave to the Makefile's commands is
executed for one of them: a failing node, a denied push and placeholders for GitHub, a failing test for GitLab.
"""

from typing import Any

import pytest
import yaml

FILES = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}


@pytest.fixture(params=FILES)
def jobs(bake, request) -> dict[str, Any]:
    """The CI file's jobs by name."""
    # GitLab's file has a header with the inputs in front of it.
    *_, file = yaml.safe_load_all((bake(ci=request.param) / FILES[request.param]).read_text())
    return file.get("jobs", file)


def steps(job: dict[str, Any]) -> list[str]:
    """What a job does, in order: its commands and, on GitHub, the actions it uses."""
    return job.get("script") or [step.get("run") or step["uses"] for step in job["steps"]]


def position(job: dict[str, Any], *beginnings: str) -> int:
    (found,) = (number for number, step in enumerate(steps(job)) if step.startswith(beginnings))
    return found


def test_the_check_fails_by_linter_and_tests_or_by_what_doctor_finds(jobs):
    made = [step.partition(" > ")[0] for step in steps(jobs["check"]) if step.startswith("make ")]
    assert made[:3] == ["make install", "make check", "make doctor compile"]


def test_no_job_and_no_step_may_fail_unnoticed(jobs):
    for job in (jobs["check"], jobs["launch"], jobs.get("audit", {"steps": []})):
        keys = {*job, *(key for step in job.get("steps", []) for key in step)}
        assert not keys & {"allow_failure", "continue-on-error"}
        assert not any("||" in step for step in steps(job) if "make --silent summary" not in step)


def test_what_is_launched_was_pushed_before(jobs):
    launch = jobs["launch"]
    login, launched = position(launch, "make login"), position(launch, "make launch")
    assert login < position(launch, "docker/build-push-action@", "make --silent push") < launched
