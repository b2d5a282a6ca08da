"""Where a project comes from: the repository, a checkout in which somebody has worked, or an installed package."""

import compileall
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from running import BIN, generators, run

pytestmark = pytest.mark.slow


def tree(project: Path) -> dict[str, bytes]:
    """Every file of a project but the record of its origin."""
    files = (path for path in project.rglob("*") if path.is_file() and path.name != ".cruft.json")
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def origin(project: Path) -> dict:
    return json.loads((project / ".cruft.json").read_text())


def generate(template: Path, folder: Path) -> Path:
    """Generate a project with plain cookiecutter."""
    folder.mkdir()
    done = run(BIN / "cookiecutter", template, "--no-input", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "new-kedro-project"


@pytest.fixture
def checkout(repository, tmp_path) -> Path:
    """A clone of the test's own."""
    return shutil.copytree(repository, tmp_path / "checkout", symlinks=True)


def test_a_checkout_in_which_tests_have_run_gives_the_same_project(repository, checkout, tmp_path):
    template = checkout / "{{ cookiecutter.repo_name }}"
    compileall.compile_dir(template, quiet=1)
    for cache in (".pytest_cache", ".ruff_cache", ".mypy_cache"):
        (template / "src" / cache).mkdir()
        (template / "src" / cache / "file").touch()
    assert list(template.rglob("__pycache__"))
    used, fresh = generate(checkout, tmp_path / "used"), generate(repository, tmp_path / "fresh")
    assert tree(used) == tree(fresh)
    assert not [path for path in used.rglob("*") if path.is_dir() and path.name.endswith("cache__")]


def test_every_generator_records_the_address_and_the_commit(repository, tmp_path):
    head = run("git", "rev-parse", "HEAD", cwd=repository).stdout.strip()
    ways = generators(repository)
    (tmp_path / "cruft").mkdir()
    for folder, way in ways.items():
        assert run(*way, cwd=tmp_path).returncode == 0
        made = origin(tmp_path / folder)
        # cruft writes what it was given.
        address = str(repository) if folder.startswith("cruft") else f"file://{repository}"
        assert (made["template"], made["commit"]) == (address, head)
        assert made["context"]["cookiecutter"]["project_name"] in ("My Project", "New Kedro Project")
        assert str(tmp_path) not in json.dumps(made)
        checked = run(BIN / "cruft", "check", cwd=tmp_path / folder)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_token_in_the_address_of_the_clone_is_not_recorded(checkout, tmp_path):
    address = "https://me:s3cr3t@git.example.com/team/starter.git"
    assert run("git", "remote", "set-url", "origin", address, cwd=checkout).returncode == 0
    record = (generate(checkout, tmp_path / "made") / ".cruft.json").read_text()
    assert "s3cr3t" not in record
    assert json.loads(record)["template"] == "https://git.example.com/team/starter.git"


def test_without_git_there_is_a_project_and_no_record(checkout, tmp_path):
    shutil.rmtree(checkout / ".git")
    project = generate(checkout, tmp_path / "made")
    assert (project / "pyproject.toml").exists()
    assert not (project / ".cruft.json").exists()


def test_kedro_new_says_nothing_but_that_the_project_is_there(repository, tmp_path):
    """Nothing listens at the proxy, so this is what one sees without a network."""
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    new = ["new", f"--starter={repository}", "--name", "My Project", "--telemetry", "no"]
    done = run(BIN / "kedro", *new, cwd=tmp_path, cold=True, **proxy)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "Your project 'My Project' has been created" in said
    assert not [word for word in ("DEBUG", "WARNING", "Warning", "Traceback") if word in said]


@pytest.fixture(scope="module")
def installed(repository, tmp_path_factory) -> Path:
    """The programs of an empty environment in which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    builds = [["build", "--quiet", "--python", sys.executable, "--out-dir", "dist", str(repository)]]
    builds += [["venv", "--quiet", "--python", sys.executable, ".venv"]]
    for arguments in builds:
        done = run(BIN / "uv", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("dist/*.whl")
    # As pip does it, Python files are compiled, those of the template as well.
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", ".venv/bin/python", str(wheel)]
    done = run(BIN / "uv", *install, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert list(folder.glob(".venv/lib/*/site-packages/kedro_vertexai_mlflow/template/*/src/*/__pycache__"))
    return folder / ".venv/bin"


def test_the_alias_of_the_installed_package_gives_the_project_that_git_gives(installed, repository, tmp_path):
    alone = {"PATH": f"{installed}{os.pathsep}/usr/bin:/bin"}
    listed = run(installed / "kedro", "starter", "list", cwd=tmp_path, **alone)
    assert "vertexai-mlflow" in listed.stdout
    for folder, starter in {"alias": "vertexai-mlflow", "git": str(repository)}.items():
        (tmp_path / folder).mkdir()
        new = ["new", f"--starter={starter}", "--name", "My Project", "--telemetry", "no"]
        done = run(installed / "kedro", *new, cwd=tmp_path / folder, **alone)
        assert done.returncode == 0, done.stdout + done.stderr
    made = tmp_path / "alias/my-project"
    assert tree(made) == tree(tmp_path / "git/my-project")
    assert origin(made) == origin(tmp_path / "git/my-project")
    done = run(BIN / "kedro", "vertexai", "run-local", cwd=made)
    assert done.returncode == 0, done.stdout + done.stderr
