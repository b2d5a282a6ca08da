"""The dependencies of a generated project, each set installed and run: as locked, the newest allowed, the oldest allowed."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import mlflow
import pytest
from fakes import osv
from packaging.requirements import Requirement
from running import BIN, ROOT, run

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"


LOCKS = ["requirements.lock", "requirements-launch.lock"]


@pytest.mark.parametrize("lock", [*(TEMPLATE / lock for lock in LOCKS), ROOT / "requirements.lock"], ids=str)
def test_a_lock_pins_everything_by_hash_and_names_no_index(lock):
    text = lock.read_text()
    pins = re.findall(r"^[\w.-]+==\S+.*?(?=^[\w.-]+==|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(pins) > (100 if lock.is_relative_to(TEMPLATE) else 30)
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in text


def test_what_make_upgrade_installs_is_what_the_commands_ask_for():
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name]), f"{text}: call make lock"


def test_ci_checks_with_the_versions_that_the_image_has():
    """What is tested would otherwise not be what runs."""
    image, launch = (set(re.findall(r"^[\w.-]+==[^\s;]+", (TEMPLATE / lock).read_text(), re.M)) for lock in LOCKS)
    assert len(image) > 100
    assert image - launch == set()
    named = {re.match(r"[\w.-]+", pin)[0] for pin in launch}
    project = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", (TEMPLATE / "pyproject.toml").read_text())
    wanted = tomllib.loads(project)["project"]
    asked = [*wanted["dependencies"], *chain(*(wanted["optional-dependencies"][name] for name in ("launch", "dev")))]
    assert {re.match(r"[\w-]+", requirement)[0].lower() for requirement in asked} <= named


@pytest.mark.slow
def test_make_install_installs_only_what_is_pinned(bake):
    """Even what builds the project itself, which pip would otherwise fetch on its own."""
    project = bake()
    printed = run("make", "--dry-run", "install", cwd=project).stdout.splitlines()
    assert [line.split()[:2] for line in printed] == [["pip", "install"]] * 2
    assert all("--no-deps" in line for line in printed)
    assert "--require-hashes -r requirements-launch.lock" in printed[0]
    assert "--no-build-isolation -e ." in printed[1]


@pytest.mark.slow
def test_the_audit_finds_a_planted_pin_with_a_known_vulnerability(bake, google):
    project = bake()
    asked = osv.serve(google)
    done = run("make", "audit", cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No known vulnerabilities found" in done.stderr
    # It asks about all that is pinned for this platform.
    assert {"mlflow", "kfp", "ruff", "jinja2"} <= {pin.partition("==")[0] for pin in asked}
    for lock in (project / name for name in LOCKS):
        lock.write_text(re.sub(r"^jinja2==\S+", "jinja2==2.10", lock.read_text(), flags=re.MULTILINE))
    done = run("make", "audit", cwd=project, **google.environment)
    assert done.returncode == 2  # make's
    assert re.search(r"jinja2 +2\.10 +PYSEC-2019-217 +2\.10\.1", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["yes", "no"])
def test_the_lock_has_what_either_variant_asks_for(bake, example):
    done = run(BIN / "kedro", "vertexai", "doctor", "--offline", cwd=bake(example=example))
    assert re.search(r"✓ lock +\d+ packages for the image", done.stdout)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment that the tests use one after the other: what two of them have in common is compiled once."""
    folder = tmp_path_factory.mktemp("environment")
    assert run(BIN / "uv", "venv", "--quiet", "--python", BIN / "python", folder, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def installed(bake, environment):
    """Make a project, and of the environment one with exactly its packages, locked or resolved; returns both."""

    def installed(resolution: str | None = None) -> tuple[Path, Path]:
        project = bake()
        # All nodes run and artifacts travel, with fewer processes to start.
        settings = project / "conf/base/vertexai.yml"
        settings.write_text(f"{settings.read_text()}  grouping: {{cls: ChainNodeGrouper}}\n")
        if resolution:
            (project / "packages.in").write_text("-e .[launch]\n")
            uv("compile", f"--resolution={resolution}", "packages.in", "--output-file=packages.txt", cwd=project)
            uv("sync", "packages.txt", cwd=project)
        else:
            uv("sync", "--require-hashes", "requirements.lock", cwd=project)
        return project, environment / "bin"

    def uv(command: str, *arguments: str, cwd: Path) -> None:
        python = environment / "bin/python"
        done = run(BIN / "uv", "pip", command, "--quiet", "--python", python, *arguments, cwd=cwd, timeout=600)
        assert done.returncode == 0, done.stderr

    return installed


def variables(programs: Path) -> dict[str, str]:
    """Nothing but that environment is found; what is imported is compiled once, and not all that is there."""
    return {"PATH": f"{programs}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": ""}


def runs(project: Path) -> list[str]:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("test_project")
    return [mlflow_run.info.status for mlflow_run in client.search_runs([experiment.experiment_id])]


@pytest.mark.slow
@pytest.mark.xdist_group("environment")
def test_the_locked_packages_run_the_compiled_example(installed):
    """As in the image: with nothing that compiles or launches."""
    project, programs = installed()
    compiled = run(BIN / "kedro", "vertexai", "compile", cwd=project)
    assert compiled.returncode == 0, compiled.stderr
    path = variables(programs)
    done = run(programs / "kedro", "vertexai", "run-local", "--spec", "pipeline.json", cwd=project, **path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(project) == ["FINISHED"]
    alone = run(programs / "kedro", "vertexai", "compile", cwd=project, **path)
    assert alone.returncode == 1
    assert "kfp is not installed. Install what launching needs: pip install -e '.[launch]'" in alone.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("environment")
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_the_newest_and_the_oldest_versions_that_are_allowed_work(installed, resolution):
    project, programs = installed(resolution)
    path = variables(programs)
    done = run(programs / "kedro", "vertexai", "run-local", cwd=project, **path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(programs / "kedro", "run", cwd=project, **path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(project) == ["FINISHED", "FINISHED"]
