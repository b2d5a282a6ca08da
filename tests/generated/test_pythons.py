"""A project on other versions of Python: installed, checked and run with each of them that this machine has."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from running import BIN, ROOT, run

DECLARED = json.loads((ROOT / "cookiecutter.json").read_text())["python_version"]


def others() -> dict[str, str]:
    """An interpreter of each declared version but our own, by version: one that is found, or one that pyenv keeps."""
    interpreters, own = {}, f"{sys.version_info.major}.{sys.version_info.minor}"
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in DECLARED:
        for asked in [version, *map(str, kept.glob(f"{version}.*/bin/python"))]:
            done = run(BIN / "uv", "python", "find", "--no-python-downloads", "--system", asked, cwd=ROOT)
            if done.returncode == 0 and version != own:
                interpreters[version] = done.stdout.strip()
    return interpreters


OTHERS = others()


def test_there_is_another_python_to_try():
    """Without one, the tests below would be none. CI has several."""
    assert OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("version", sorted(OTHERS))
def test_a_project_passes_its_tests_and_runs(version, bake, tmp_path):
    project = bake()
    programs = tmp_path / "env/bin"
    # As `make install` does it. The newest versions are tried with each Python in CI, by pythons.yml.
    pip = ["pip", "install", "--quiet", "--python", programs / "python", "--no-deps"]
    for command in (
        ["venv", "--quiet", "--python", OTHERS[version], "env"],
        [*pip, "--require-hashes", "-r", project / "requirements-launch.lock"],
        [*pip, "--no-build-isolation", "-e", project],
    ):
        done = run(BIN / "uv", *command, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
    # What is imported is compiled once, and not all that is there.
    variables = {"PATH": f"{programs}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": ""}
    for command in (["pytest", "-q"], ["kedro", "vertexai", "run-local"]):
        done = run(programs / command[0], *command[1:], cwd=project, **variables)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_declared_versions_are_those_of_ci():
    """One of its workflows runs the demo with each of them."""
    workflow = (ROOT / ".github/workflows/pythons.yml").read_text()
    assert re.findall(r'"(3\.\d+)"', workflow) == DECLARED
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert package["requires-python"] == f">={DECLARED[0]}"
    template = (ROOT / "{{ cookiecutter.repo_name }}/pyproject.toml").read_text()
    assert f"for version in {json.dumps(DECLARED)} if" in template
