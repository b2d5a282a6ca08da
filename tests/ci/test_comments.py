"""The comment with the plans of a pull request, by the commands of both CI files against a loopback API."""

import os
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from fakes.comments import PLACES, REPOSITORY, TOKEN, Host, comments
from running import ROOT

MARKER = f"<!-- the plans of {REPOSITORY} -->"
PROJECT = ROOT / "{{ cookiecutter.repo_name }}"


@pytest.fixture(params=PLACES)
def host(request) -> Iterator[Host]:
    with comments(request.param) as host:
        yield host


def post(host: Host, folder, plans: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run what the job does, in a folder with the plans of a pull request."""
    if host.ci == "github":
        file = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
        (command,) = (step["run"] for step in file["jobs"]["comment"]["steps"] if "run" in step)
        variables = {"GITHUB_REPOSITORY": REPOSITORY, "GITHUB_API_URL": host.url, "TOKEN": token, "NUMBER": "7"}
        (folder / "plans").mkdir(exist_ok=True)
        (folder / "plans/plans.md").write_text(plans)
    else:
        *_, file = yaml.safe_load_all((PROJECT / ".gitlab-ci.yml").read_text())
        command = file["comment"]["script"][-1]
        variables = {
            "CI_PROJECT_PATH": REPOSITORY, "CI_API_V4_URL": host.url, "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "7", "PLANS_TOKEN": token,
        }  # fmt: skip
        (folder / "plans.md").write_text(plans)
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder, env={**os.environ, "NO_PROXY": "127.0.0.1", **variables}, capture_output=True, text=True,
    )  # fmt: skip


PLANS = '| a | `b` | "c" $(touch d) → ü |'


def test_there_is_one_comment_which_is_updated_and_others_are_left_alone(host, tmp_path):
    others = [
        {"id": 1, "user": {"type": "User"}, "body": "LGTM"},
        {"id": 2, "user": {"type": "Bot"}, "body": f"Coverage. {MARKER}"},
    ]
    host.comments = [dict(comment) for comment in others]
    done = post(host, tmp_path, "No step changes.")
    assert done.returncode == 0, done.stderr
    assert [comment["body"] for comment in host.comments[2:]] == [f"{MARKER}\nNo step changes."]
    assert post(host, tmp_path, PLANS).returncode == 0
    assert [comment["body"] for comment in host.comments[2:]] == [f"{MARKER}\n{PLANS}"]
    assert host.comments[:2] == others
    assert not (tmp_path / "d").exists()
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_that_may_not_comment_fails_the_job(host, tmp_path):
    done = post(host, tmp_path, PLANS, token="another")
    assert done.returncode != 0
    assert "401" in done.stderr
    assert host.comments == []
