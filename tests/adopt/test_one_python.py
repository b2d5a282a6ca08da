"""The Python of a project is one fact, ``requires-python``: the locks, the image and the CI jobs are for its oldest version."""

import re
import shutil
from pathlib import Path

import existing_projects as projects
import pytest
import yaml
from running import ROOT, run

from kedro_vertexai_mlflow.adopt.plan import make_plan
from kedro_vertexai_mlflow.adopt.project import read_project
from kedro_vertexai_mlflow.adopt.python_version import find_oldest_python
from kedro_vertexai_mlflow.errors import UserError as AdoptError
from vertexai_mlflow.checks import python as pythons
from vertexai_mlflow.contract.check import Doubt
from vertexai_mlflow.errors import UserError

pytestmark = pytest.mark.slow

# What a user may write → the oldest Python that it allows.
FORMS = {
    '[project]\nrequires-python = ">=3.12"\n': "3.12",
    "[project]\nrequires-python = '>=3.12'\n": "3.12",
    '[project]\nname = "x"\nrequires-python = ">=3.12,<3.14"  # not >=3.11\n': "3.12",
    '[project]\nrequires-python = "<3.14, >= 3.12"\n': "3.12",
    '[project]\nrequires-python = "==3.13.*"\n': "3.13",
    '[project]\nrequires-python = "==3.12.4"\n': "3.12",
    '[project]\nrequires-python = "~=3.12.0"\n': "3.12",
    '[project]\nrequires-python = ">3.11.2"\n': "3.11",
    'project.name = "x"\nproject.requires-python = ">=3.12"\n': "3.12",
    'project = {name = "x", requires-python = ">=3.12"}\n': "3.12",
    '# requires-python = ">=3.11"\n[project]\nrequires-python = ">=3.12"\n': "3.12",
}


def locked_python(project: Path, makefile: str = "Makefile") -> set[str]:
    """The Python that `make lock` asks uv to resolve for, without running uv."""
    printed = run("make", "--dry-run", "-f", makefile, "lock", cwd=project).stdout
    return set(re.findall(r'--python-version "(.*?)"', printed))


def literal_pythons(project: Path) -> dict[str, set[str]]:
    """File → the versions of Python in it, of images and CI jobs."""
    names = ("Dockerfile*", "*gitlab-ci.yml", ".github/workflows/*.yml")
    files = [file for name in names for file in project.glob(name)]
    pattern = r'python:(\d[\d.]*)|python-version: "?(\d.*?)"?$'
    pythons_in = {file.name: re.findall(pattern, file.read_text(), re.MULTILINE) for file in files}
    return {name: {a or b for a, b in versions} for name, versions in pythons_in.items() if versions}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_requires_python_is_read_alike_by_make_adopt_and_doctor(text, tmp_path):
    shutil.copy(ROOT / "{{ cookiecutter.repo_name }}/Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    assert locked_python(tmp_path) == {FORMS[text]}
    specifier = re.findall(r"^[^#]*requires-python = [\"'](.*?)[\"']", text, re.MULTILINE)[0]
    assert find_oldest_python(specifier) == FORMS[text]
    assert pythons.oldest_python(tmp_path) == FORMS[text]


def test_github_asks_make_for_the_python_of_the_project(bake):
    project = bake(ci="github", python_version="3.13")
    assert run("make", "--silent", "python", cwd=project).stdout == "3.13\n"
    for name in ("ci.yml", "audit.yml"):
        workflow = yaml.safe_load((project / ".github/workflows" / name).read_text())
        for job in workflow["jobs"].values():
            commands = [step.get("run", "") for step in job["steps"]]
            setups = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
            assert len(setups) == ("make install" in commands)
            if not setups:
                continue
            (setup,) = setups
            before = commands[: job["steps"].index(setup)]
            assert any('version="$(make --silent python)"' in command for command in before)
            assert setup["with"]["python-version"] == "${{ steps.python.outputs.version }}"


@pytest.mark.parametrize("text", ["[project]\nname = 'x'\n", "[project]\nrequires-python = '<3.14'\n"])
def test_without_an_oldest_python_nothing_is_locked(text, tmp_path):
    shutil.copy(ROOT / "{{ cookiecutter.repo_name }}/Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    for target in ("lock", "python"):
        done = run("make", target, cwd=tmp_path)
        assert done.returncode == 2
        assert "pyproject.toml: requires-python must begin with the oldest Python, for example >=3.11" in done.stderr


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_project_is_generated_for_the_python_that_is_chosen(bake, ci):
    project = bake(ci=ci, python_version="3.12")
    assert locked_python(project) == {"3.12"}
    result = literal_pythons(project)
    assert {"github": {"Dockerfile"}, "gitlab": {"Dockerfile", ".gitlab-ci.yml"}}[ci] == set(result)
    assert all(versions == {"3.12"} for versions in result.values()), result
    pyproject = (project / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.12"' in pyproject
    assert ":: Python :: 3.12" in pyproject
    assert "3.11" not in pyproject
    assert pythons.check_python(project) == "3.12 for the locks, the image and CI"


def with_python(specifier: str, folder: Path, **files: str) -> Path:
    text = projects.SPACEFLIGHTS["pyproject.toml"]
    line = f'requires-python = "{specifier}"\n' if specifier else ""
    changed = text.replace('requires-python = ">=3.10"\n', line)
    return projects.write({**projects.SPACEFLIGHTS, **files, "pyproject.toml": changed}, folder / "spaceflights")


@pytest.mark.parametrize(
    ("specifier", "python", "left"),
    [
        (">=3.12", "3.12", ">=3.12"),
        (">=3.13,<3.15", "3.13", ">=3.13,<3.15"),
        (">=3.9,<3.13", "3.11", "<3.13,>=3.11"),
        (">=3.10.4", "3.11", ">=3.11"),
        (">=3.8,<3.11", "3.11", ">=3.11"),
        ("", "3.11", ">=3.11"),
    ],
)
def test_an_adopted_project_gets_its_own_python_everywhere(specifier, python, left, tmp_path):
    project = with_python(specifier, tmp_path)
    for ci in ("github", "gitlab"):
        plan = make_plan(read_project(project), ROOT, ci)
        made = tmp_path / ci
        for path, content in plan.files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_bytes(content)
        assert f'requires-python = "{left}"' in (made / "pyproject.toml").read_text()
        assert locked_python(made) == {python}
        assert {version for versions in literal_pythons(made).values() for version in versions} == {python}
        assert pythons.check_python(made) == f"{python} for the locks, the image and CI"


def test_the_record_of_an_adopted_project_has_its_python_so_that_upgrades_keep_it(repository, tmp_path):
    plan = make_plan(read_project(with_python(">=3.12", tmp_path)), repository, "github")
    assert b'"python_version": "3.12"' in plan.files[".cruft.json"]


@pytest.mark.parametrize("specifier", [">=3.15", ">=4", "^3.12", "3.12"])
def test_a_python_that_nothing_here_knows_is_refused_with_a_reason(specifier, tmp_path):
    with pytest.raises(AdoptError, match=r"pyproject.toml: requires-python .*3\.11, 3\.12, 3\.13 or 3\.14"):
        make_plan(read_project(with_python(specifier, tmp_path)), ROOT, "github")


WORKFLOW = "jobs:\n  check:\n    steps:\n      - uses: actions/setup-python@v7\n        with:\n          python-version: {}\n      - run: {}\n"
# File → its text, and what doctor says of it in a project that requires >= 3.12.
DIFFERENCES = {
    "Dockerfile": ("ARG BASE_IMAGE=python:3.11-slim\nCOPY requirements.lock .\n", "Dockerfile:1: python:3.11-slim"),
    "Dockerfile.vertexai": ("# x\nFROM mirror.example.com/library/python:3.13\nCOPY requirements.lock .\n", "Dockerfile.vertexai:2: mirror.example.com/library/python:3.13"),
    ".github/workflows/ci.yml": (WORKFLOW.format('"3.11"', "make install"), ".github/workflows/ci.yml:6: python-version: 3.11"),
    ".github/workflows/vertexai.yml": (WORKFLOW.format("3.11.4", "make -f vertexai.mk install"), ".github/workflows/vertexai.yml:6: python-version: 3.11.4"),
    ".gitlab-ci.yml": ("spec:\n---\ndefault:\n  image: python:3.11-trixie\ncheck:\n  script: [make install]\n", ".gitlab-ci.yml:4: python:3.11-trixie"),
    "vertexai.gitlab-ci.yml": ('default:\n  image: "python:3.10"\ncheck:\n  script:\n    - make -f vertexai.mk install\n', "vertexai.gitlab-ci.yml:2: python:3.10"),
}  # fmt: skip


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.12"\n')
    return tmp_path


@pytest.mark.parametrize("path", DIFFERENCES)
def test_doctor_says_what_has_another_python_and_where(path, project):
    text, message = DIFFERENCES[path]
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text(text)
    with pytest.raises(UserError if path == "Dockerfile" else Doubt) as error:
        pythons.check_python(project)
    assert str(error.value) == (
        f"pyproject.toml: requires-python >=3.12 makes Python 3.12 that of the locks, the image and CI, but {message}. Write "
        "3.12 there, or change requires-python. For the locks: make lock"
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Dockerfile", "ARG BASE_IMAGE=python:3.12-slim@sha256:0\nCOPY requirements.lock .\n"),
        ("Dockerfile", "ARG BASE_IMAGE=pytorch/pytorch:2.9\nFROM ${BASE_IMAGE}\nCOPY requirements.lock .\n"),
        ("Dockerfile", "FROM python:3.10-slim\nCOPY requirements.txt .\n"),
        (".github/workflows/ci.yml", WORKFLOW.format('"3.12.4"', "make install")),
        (".github/workflows/ci.yml", WORKFLOW.format("${{ matrix.python }}", "make install")),
        # The user's own workflow installs something else than the locks.
        (".github/workflows/docs.yml", WORKFLOW.format('"3.11"', "pip install sphinx")),
        (".gitlab-ci.yml", "default:\n  image: python:3.12\n  script: [make install]\ndocs:\n  image: node:22\n"),
        (".gitlab-ci.yml", "docs:\n  image: python:3.9\n  script: [sphinx-build docs site]\n"),
        ("requirements.lock", "numpy==2\n"),
    ],
)
def test_what_has_the_same_python_or_none_is_in_order(path, text, project):
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text(text)
    assert pythons.check_python(project) == "3.12 for the locks, the image and CI"


def test_a_lock_that_was_resolved_for_another_python_is_named(project):
    makefile = ROOT / "{{ cookiecutter.repo_name }}/Makefile"
    shutil.copy(makefile, project)
    printed = run("make", "--dry-run", "lock", cwd=project).stdout
    header = re.search(r'--custom-compile-command "(.*?)"', printed)[1]
    for python in ("3.11", "3.12"):
        (project / "requirements.lock").write_text(
            f"# uv made this:\n#    {header.replace('3.12', python)}\nnumpy==2\n"
        )
        assert pythons.check_python(project)
    (project / "requirements.lock").write_text(f"# uv made this:\n#    {header.replace('3.12', '3.13')}\nnumpy==2\n")
    with pytest.raises(UserError, match=r"but requirements\.lock:2: for Python 3\.13 and newer\. "):
        pythons.check_python(project)


def test_a_python_that_nobody_names_is_a_doubt(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(Doubt, match=r"pyproject\.toml: requires-python is missing"):
        pythons.check_python(tmp_path)


def test_the_templates_own_locks_say_which_python_they_are_for():
    for lock in ("requirements.lock", "requirements-launch.lock"):
        text = (ROOT / "{{ cookiecutter.repo_name }}" / lock).read_text()
        assert text.splitlines()[1] == "#    make lock, for Python 3.11 and newer"
