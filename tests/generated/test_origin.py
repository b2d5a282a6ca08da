"""Where a project comes from: the repository, a checkout in which somebody has worked, or an installed package."""

import compileall
import json
import os
import shutil
import sys
from itertools import product
from pathlib import Path

import existing_projects as projects
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
    printed = done.stdout + done.stderr
    assert "Your project 'My Project' has been created" in printed
    assert not [word for word in ("DEBUG", "WARNING", "Warning", "Traceback") if word in printed]


@pytest.fixture(scope="module", params=["pip", "uv"])
def installed(request, repository, tmp_path_factory) -> Path:
    """The programs of an empty environment in which the wheel was installed, by pip and by uv."""
    folder = tmp_path_factory.mktemp("installed")
    builds = [["build", "--quiet", "--python", sys.executable, "--out-dir", "dist", str(repository)]]
    builds += [
        ["venv", "--quiet", *(["--seed"] if request.param == "pip" else []), "--python", sys.executable, ".venv"]
    ]
    for arguments in builds:
        done = run(BIN / "uv", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("dist/*.whl")
    pip = [folder / ".venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    uv = [BIN / "uv", "pip", "install", "--quiet", "--python", ".venv/bin/python", wheel]
    done = run(*{"pip": pip, "uv": uv}[request.param], cwd=folder)
    assert done.returncode == 0, done.stderr
    # pip compiles Python files, those of the template as well.
    compiled = [*folder.glob(".venv/lib/*/site-packages/kedro_vertexai_mlflow/template/*/src/**/__pycache__")]
    assert bool(compiled) == (request.param == "pip")
    return folder / ".venv/bin"


@pytest.mark.xdist_group("installed")
def test_every_variant_is_generated_and_a_project_adopted_by_the_installed_package(installed, repository, tmp_path):
    """Without the example, the hook deletes folders in which pip has left others."""
    alone = {"PATH": f"{installed}{os.pathsep}/usr/bin:/bin"}
    template = next(installed.parent.glob("lib/*/site-packages/kedro_vertexai_mlflow/template"))
    for ci, example in product(("github", "gitlab", "none"), ("yes", "no")):
        for folder, source in (("installed", template), ("git", repository)):
            answers = [
                "--no-input",
                "--output-dir",
                tmp_path / f"{folder}-{ci}-{example}",
                f"ci={ci}",
                f"example={example}",
            ]
            program = installed / "cookiecutter" if folder == "installed" else BIN / "cookiecutter"
            done = run(program, source, *answers, cwd=tmp_path, **(alone if folder == "installed" else {}))
            assert done.returncode == 0, done.stderr
        made, expected = (tmp_path / f"{folder}-{ci}-{example}/new-kedro-project" for folder in ("installed", "git"))
        assert tree(made) == tree(expected)
        assert origin(made) == origin(expected)
    project = projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")
    done = run(installed / "vertexai-adopt", "--yes", "--no-lock", cwd=project, **alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert origin(project)["template"] == f"file://{repository}"
    planned = run(BIN / "kedro", "vertexai", "plan", cwd=project)
    assert planned.returncode == 0, planned.stderr


def test_a_relative_path_to_a_clone_is_as_good(repository, tmp_path):
    clone = Path(shutil.copytree(repository, tmp_path / "clone", symlinks=True))
    for folder, options in {"here": [], "there": ["--output-dir", "there"]}.items():
        (tmp_path / folder).mkdir()
        place = ".." if folder == "here" else "."
        cwd = tmp_path / folder if folder == "here" else tmp_path
        done = run(BIN / "cookiecutter", f"{place}/{clone.name}", "--no-input", *options, cwd=cwd, PWD=str(cwd))
        assert done.returncode == 0, done.stderr
        assert origin(tmp_path / folder / "new-kedro-project")["template"] == f"file://{repository}"


def test_no_path_of_this_machine_is_recorded(checkout, tmp_path):
    """A clone without a remote leaves no record, and neither does one of a folder."""
    assert run("git", "remote", "set-url", "origin", str(checkout), cwd=checkout).returncode == 0
    assert not (generate(checkout, tmp_path / "one") / ".cruft.json").exists()
    assert run("git", "remote", "remove", "origin", cwd=checkout).returncode == 0
    assert not (generate(checkout, tmp_path / "two") / ".cruft.json").exists()


@pytest.mark.xdist_group("installed")
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
