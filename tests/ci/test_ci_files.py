"""What both CI files must say, read from the files.

The pipelines are executed in ``test_github.py`` and ``test_gitlab.py``. What both files leave to the Makefile's commands is
executed for one of them: a failing node, a denied push and placeholders for GitHub, a failing test for GitLab.
"""

from typing import Any

import pytest
import yaml
from running import BIN, run

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


def test_only_a_push_or_a_person_launches(bake):
    """An event that is added to the file later does not, and whatever a stranger can start must not."""
    github = yaml.safe_load((bake(ci="github") / FILES["github"]).read_text())["jobs"]["launch"]["if"]
    assert github == "github.event_name == 'push' || github.event_name == 'workflow_dispatch'"


def test_on_gitlab_only_a_push_or_a_person_launches(bake):
    *_, gitlab = yaml.safe_load_all((bake(ci="gitlab") / FILES["gitlab"]).read_text())
    (rule,) = gitlab["launch"]["rules"]
    assert rule == {"if": '$CI_PIPELINE_SOURCE == "push" || $CI_PIPELINE_SOURCE == "web"'}
    assert gitlab["launch"]["id_tokens"]["ID_TOKEN"]["aud"].endswith(
        "$CI_PROJECT_ID/environments/$[[ inputs.environment ]]"
    )


def test_only_the_job_that_launches_writes_the_build_cache(bake):
    """What runs on main for somebody else's event could write a layer that the next build of main takes."""
    project = bake(ci="github")
    writers = []
    for path in sorted((project / ".github/workflows").glob("*.y*ml")):
        workflow = yaml.safe_load(path.read_text())
        assert set(workflow[True]) <= {"pull_request", "push", "schedule", "workflow_dispatch"}
        for name, job in workflow["jobs"].items():
            writers += [
                (path.name, name) for step in job["steps"] if any("cache" in key for key in step.get("with", {}))
            ]
    assert writers == [("ci.yml", "launch")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "trigger"),
    [
        ("label.yml", "pull_request_target"), ("label.yaml", "pull_request_target"), ("label.yml", "[push, issue_comment]"),
        ("label.yaml", "{workflow_run: {workflows: [ci]}}"),
    ],
)  # fmt: skip
def test_the_projects_own_tests_refuse_a_workflow_that_strangers_start(file, trigger, bake):
    project = bake(ci="github")
    command = [BIN / "pytest", "-q", "tests/test_workflows.py"]
    assert run(*command, cwd=project).returncode == 0
    (project / ".github/workflows" / file).write_text(f"on: {trigger}\njobs: {{}}\n")
    done = run(*command, cwd=project)
    assert done.returncode == 1
    assert f"test_no_workflow_runs_on_the_main_branch_for_others[{file}]" in done.stdout


def test_what_is_launched_was_pushed_before(jobs):
    launch = jobs["launch"]
    login, launched = position(launch, "make login"), position(launch, "make launch")
    assert login < position(launch, "docker/build-push-action@", "make --silent push") < launched
