"""A project in a folder of a repository: what git says about it, and its workflows at the top."""

import shutil
from pathlib import Path

import pytest
import yaml
from running import BIN, ROOT, commit, run

from vertexai_mlflow import git
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.infra.monorepo import write_workflows

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
PLACE = "services/demo"


@pytest.fixture
def project(tmp_path) -> Path:
    project = tmp_path / PLACE
    shutil.copytree(TEMPLATE / ".github", project / ".github")
    (project / "src").mkdir()
    (project / "src/a.py").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/b.py").touch()
    commit(tmp_path)
    return project


@pytest.fixture
def workflows(project, tmp_path) -> dict[str, dict]:
    files = write_workflows(project)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        ".github/workflows/services-demo.yml", ".github/workflows/services-demo-audit.yml",
    ]  # fmt: skip
    return {file.name: yaml.safe_load(file.read_text()) for file in files}


def test_only_the_projects_own_files_make_it_dirty(project, tmp_path):
    assert git.head(project)
    assert not git.is_dirty(project, ["src/a.py"])
    (tmp_path / "other/b.py").write_text("changed")
    assert not git.is_dirty(project, ["src/a.py"])
    assert git.is_dirty(project, ["src/new.py"])
    (project / "src/a.py").write_text("changed")
    assert git.is_dirty(project, ["src/a.py"])


def test_a_push_to_another_folder_starts_nothing(workflows):
    triggers = workflows["services-demo.yml"][True]
    paths = ["services/demo/**", ".github/workflows/services-demo.yml"]
    assert triggers["push"] == {"branches": ["main"], "paths": paths}
    assert triggers["pull_request"] == {"paths": paths}
    assert workflows["services-demo-audit.yml"][True]["pull_request"] == {"paths": ["services/demo/*.lock"]}


def test_commands_run_in_the_folder_and_actions_are_told_where_it_is(workflows):
    for workflow in workflows.values():
        assert workflow["defaults"] == {"run": {"working-directory": PLACE}}
    launch = workflows["services-demo.yml"]["jobs"]["launch"]
    told = [step["with"] for step in launch["steps"] if "with" in step]
    assert [options["context"] for options in told if "context" in options] == [PLACE]
    kept = [options["path"] for options in told if options.get("name") in ("sbom", "job-page")]
    assert kept == [f"{PLACE}/sbom.json", f"{PLACE}/job.html"]
    # The newest commit is checked out beside the project.
    assert [options["path"] for options in told if options.get("ref")] == [".newest"]
    for workflow in workflows.values():
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if path := step.get("with", {}).get("cache-dependency-path"):
                    assert path == f"{PLACE}/requirements-launch.lock"


def test_two_projects_do_not_wait_for_each_other(workflows):
    """GitHub's groups are those of the whole repository."""
    workflow = workflows["services-demo.yml"]
    assert workflow["name"] == "services-demo"
    groups = [part["concurrency"]["group"] for part in (*workflows.values(), workflow["jobs"]["launch"])]
    assert all("${{ github.workflow }}" in group for group in groups)


def test_the_linters_find_nothing_in_them(workflows, tmp_path):
    files = [tmp_path / ".github/workflows" / name for name in workflows]
    for linter in (
        ["actionlint", "-shellcheck", BIN / "shellcheck", *files],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files],
    ):
        done = run(BIN / linter[0], *linter[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_project_at_the_top_needs_none(project, tmp_path):
    shutil.rmtree(project / ".github")
    with pytest.raises(UserError, match=r"services/demo has no workflow"):
        write_workflows(project)
    with pytest.raises(UserError, match=r"this folder is the top of its repository"):
        write_workflows(tmp_path)
