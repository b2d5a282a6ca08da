"""What somebody who knows Kedro expects of a project, tried."""

import json
import subprocess
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml
from running import BIN, commit, environment, run

pytestmark = pytest.mark.slow


def pyproject(project: Path) -> dict:
    return tomllib.loads((project / "pyproject.toml").read_text())


def test_kedros_own_files_and_tables_are_there(bake):
    project = bake()
    kedro = pyproject(project)["tool"]["kedro"]
    assert (kedro["tools"], kedro["example_pipeline"]) == ("['None']", "False")
    assert pyproject(project)["project"]["scripts"] == {"test-project": "test_project.__main__:main"}
    assert yaml.safe_load((project / "conf/local/credentials.yml").read_text()) is None
    assert set(yaml.safe_load((project / "conf/base/parameters_penguins.yml").read_text())) == {
        "split",
        "linear",
        "forest",
    }
    assert (project / "conf/README.md").exists()
    assert (project / "notebooks").is_dir()


def test_credentials_are_never_committed(bake):
    project = bake()
    commit(project)
    assert (project / "conf/local/credentials.yml").exists()
    assert "conf/local/credentials.yml" not in run("git", "ls-files", cwd=project).stdout


def test_the_tools_that_kedro_new_was_asked_for_are_written_down(bake):
    project = bake(project_name="With Tools", tools="['Linting', \"Testing\"]", example_pipeline="True")
    kedro = pyproject(project)["tool"]["kedro"]
    assert (kedro["tools"], kedro["example_pipeline"]) == ("['Linting', \"Testing\"]", "True")


def test_the_packages_script_runs_the_project(bake):
    """The script that `[project.scripts]` makes calls this."""
    project = bake()
    script = "import sys; from test_project.__main__ import main; sys.argv[0] = 'test-project'; main()"
    done = run(BIN / "python", "-c", script, "--to-nodes=split", cwd=project, PYTHONPATH="src")
    assert done.returncode == 0, done.stdout + done.stderr


def test_coverage_is_that_of_the_users_own_code(bake):
    project = bake()
    done = run(BIN / "pytest", "-q", "--cov", cwd=project)
    assert done.returncode == 0, done.stdout
    assert "src/test_project/pipelines/penguins/nodes.py" in done.stdout
    assert "vertexai" not in done.stdout.partition("coverage:")[2]


def test_pre_commit_runs_what_make_check_runs(bake):
    project = bake()
    commit(project)
    assert run(BIN / "pre-commit", "run", "--all-files", cwd=project).returncode == 0
    nodes = project / "src/test_project/pipelines/penguins/nodes.py"
    nodes.write_text(nodes.read_text() + "import os\n")
    done = run(BIN / "pre-commit", "run", "--all-files", cwd=project)
    assert done.returncode == 1
    assert "F401" in done.stdout


@pytest.fixture(scope="module")
def with_extras(tmp_path_factory) -> Path:
    """The programs of an environment that has Kedro-Viz and Jupyter beside what this one has."""
    folder = tmp_path_factory.mktemp("extras")
    for arguments in (
        ["venv", "--quiet", "--python", BIN / "python", folder],
        ["pip", "install", "--quiet", "--python", folder / "bin/python", "kedro-viz>=12.3,<13", "jupyterlab>=4,<5"],
    ):
        done = run(BIN / "uv", *arguments, cwd=folder, timeout=600)
        assert done.returncode == 0, done.stderr
    (packages,) = (BIN.parent / "lib").glob("python*/site-packages")
    (inside,) = folder.glob("lib/python*/site-packages")
    (inside / "others.pth").write_text(f"{packages}\n")
    return folder / "bin"


@pytest.mark.xdist_group("extras")
def test_kedro_viz_shows_the_pipeline(bake, with_extras):
    project = bake()
    command = [with_extras / "kedro", "viz", "run", "--no-browser", "--port", "41417"]
    with subprocess.Popen(
        command, cwd=project, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as viz:
        try:
            for _ in range(120):
                try:
                    with urllib.request.urlopen("http://127.0.0.1:41417/api/main") as answer:
                        shown = json.load(answer)
                    break
                except OSError:
                    assert viz.poll() is None, viz.stderr.read().decode()
                    time.sleep(0.5)
        finally:
            viz.terminate()
    assert {"train_forest", "choose_model"} <= {node["name"] for node in shown["nodes"]}


@pytest.mark.xdist_group("extras")
def test_jupyter_starts_with_the_projects_kernel(bake, with_extras):
    done = run(with_extras / "kedro", "jupyter", "lab", "--version", cwd=bake())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("4.")
