"""What both CI files must say, read from the files.

The pipelines are executed in ``test_github.py`` and ``test_gitlab.py``. What both files leave to the Makefile's commands is
executed for one of them: a failing node, a denied push and placeholders for GitHub, a failing test for GitLab.
"""

import re
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
    (number_of_step,) = (
        number for number, step in enumerate(steps(job)) if any(f"\n  {part}" in f"\n  {step}" for part in beginnings)
    )
    return number_of_step


def test_the_check_fails_by_linter_and_tests_or_by_what_doctor_finds(jobs):
    made = [step.partition(" > ")[0] for step in steps(jobs["check"]) if step.startswith("make ")]
    assert made[:3] == ["make install", "make check", "make doctor plans"]


def test_no_job_and_no_step_may_fail_unnoticed(jobs):
    for job in (jobs["check"], jobs["launch"], jobs["promote"], jobs.get("audit", {"steps": []})):
        keys = {*job, *(key for step in job.get("steps", []) for key in step)}
        assert not keys & {"allow_failure", "continue-on-error"}
        assert not any("||" in step for step in steps(job) if "make --silent summary" not in step)


def test_only_a_push_or_a_person_launches(bake):
    """An event that is added to the file later does not, and whatever a stranger can start must not."""
    github = yaml.safe_load((bake(ci="github") / FILES["github"]).read_text())["jobs"]["launch"]["if"]
    assert github == "(github.event_name == 'push' || github.event_name == 'workflow_dispatch') && !inputs.promote_from"


def test_on_gitlab_only_a_push_or_a_person_launches(bake):
    *_, gitlab = yaml.safe_load_all((bake(ci="gitlab") / FILES["gitlab"]).read_text())
    promotes, rule = gitlab["launch"]["rules"]
    assert promotes["when"] == "never"
    assert rule == {"if": '$CI_PIPELINE_SOURCE == "push" || $CI_PIPELINE_SOURCE == "web"'}
    assert gitlab["launch"]["id_tokens"]["ID_TOKEN"]["aud"].endswith(
        "$CI_PROJECT_ID/environments/$[[ inputs.environment ]]"
    )


def test_only_a_person_promotes_with_the_approvals_of_the_environment_that_gets_the_model(jobs):
    job = jobs["promote"]
    condition = job["if"] if "if" in job else job["rules"][0]["if"]
    assert condition in (
        "github.event_name == 'workflow_dispatch' && inputs.promote_from",
        '$CI_PIPELINE_SOURCE == "web" && "$[[ inputs.promote_from ]]" != ""',
    )
    assert job["environment"] == jobs["launch"]["environment"]
    assert steps(job)[position(job, "make --silent promote")].startswith("make --silent promote")
    assert not any(step.startswith(("make launch", "make push", "docker/")) for step in steps(job))


def test_only_the_job_that_launches_writes_the_build_cache(bake):
    """What runs on main for somebody else's event could write a layer that the next build of main takes.

    pip's cache is no danger of this kind: what it takes from there must have the hash that the lock names.
    """
    project = bake(ci="github")
    writers = []
    for path in sorted((project / ".github/workflows").glob("*.y*ml")):
        workflow = yaml.safe_load(path.read_text())
        assert set(workflow[True]) <= {"pull_request", "push", "schedule", "workflow_dispatch"}
        for name, job in workflow["jobs"].items():
            writers += [(path.name, name) for step in job["steps"] if "cache-to" in step.get("with", {})]
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


def test_what_pip_downloads_is_kept_for_as_long_as_the_lock_is_the_same(bake):
    github = yaml.safe_load((bake(ci="github") / FILES["github"]).read_text())["jobs"]
    setups = {
        name: step["with"]
        for name, job in github.items()
        for step in job["steps"]
        if "setup-python" in step.get("uses", "")
    }
    check = setups["check"]
    assert (check["cache"], check["cache-dependency-path"]) == ("pip", "requirements-launch.lock")
    assert "cache" not in setups["launch"]


def test_on_gitlab_what_pip_downloads_is_kept_in_a_folder_that_git_ignores(bake):
    project = bake(ci="gitlab")
    *_, gitlab = yaml.safe_load_all((project / FILES["gitlab"]).read_text())
    cache = gitlab["default"]["cache"]
    assert gitlab["launch"]["cache"] == []
    assert cache["key"] == {"files": ["requirements-launch.lock"]}
    assert [gitlab["variables"]["PIP_CACHE_DIR"]] == [f"$CI_PROJECT_DIR/{path}" for path in cache["paths"]]
    assert "/.cache/" in (project / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    "digest", ["", "sha256:abc", "evil", "sha256:" + "a" * 64 + "\nimage=evil", "x@sha256:" + "a" * 64]
)
def test_on_github_only_a_digest_of_the_environments_own_repository_is_launched(digest, bake, tmp_path):
    jobs = yaml.safe_load((bake(ci="github") / FILES["github"]).read_text())["jobs"]
    (script,) = (step["run"] for step in jobs["launch"]["steps"] if step.get("id") == "image")
    output = tmp_path / "output"
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = run(*command, cwd=tmp_path, DIGEST=digest, REPOSITORY="r/p", GITHUB_OUTPUT=str(output))
    assert done.returncode == 1
    assert done.stdout.startswith("::error::The input digest must be sha256: and 64 hexadecimal digits")
    assert not output.exists()
    fine = "sha256:" + "a" * 64
    assert run(*command, cwd=tmp_path, DIGEST=fine, REPOSITORY="r/p", GITHUB_OUTPUT=str(output)).returncode == 0
    assert output.read_text() == f"image=r/p@{fine}\n"


def test_on_gitlab_the_digest_has_a_pattern(bake):
    header, *_ = yaml.safe_load_all((bake(ci="gitlab") / FILES["gitlab"]).read_text())
    pattern = header["spec"]["inputs"]["digest"]["regex"]
    assert re.search(pattern, "sha256:" + "a" * 64)
    assert re.search(pattern, "")
    assert not re.search(pattern, "x@sha256:" + "a" * 64)
    assert not re.search(pattern, 'sha256:"; curl')


def test_with_launch_false_a_push_builds_and_a_person_launches(bake):
    """Of GitHub; test_gitlab.py executes GitLab's."""
    launch = yaml.safe_load((bake(ci="github") / FILES["github"]).read_text())["jobs"]["launch"]
    assert launch["env"]["LAUNCH"] == "${{ github.event_name != 'push' || vars.LAUNCH }}"
    launching = [step for step in launch["steps"] if step.get("run") in ("make launch", "make schedule")]
    assert [step["if"].partition(" && ")[0] for step in launching] == ["env.LAUNCH != 'false'"] * 2


def test_what_is_launched_was_pushed_before(jobs):
    launch = jobs["launch"]
    login, launched = position(launch, "make login"), position(launch, "make launch")
    assert login < position(launch, "docker/build-push-action@", "make --silent push") < launched
