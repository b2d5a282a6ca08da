"""A project has two packages: one is the user's, the other one the template's and sealed."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from running import BIN, ROOT, commit, run

from vertexai_mlflow import __version__
from vertexai_mlflow.cli import COMMANDS

pytestmark = pytest.mark.slow

PLATFORM = "src/vertexai_mlflow"
VARIANTS = [
    {"project_name": "First", "ci": "github", "example": "yes"},
    {"project_name": "Second", "ci": "gitlab", "example": "no", "gcp_region": "europe-west1"},
    {"project_name": "Third", "ci": "none", "example": "yes", "repo_name": "elsewhere", "python_package": "third_one"},
    {"project_name": "Fourth", "ci": "gitlab", "example": "yes", "mlflow_tracking_uri": "https://mlflow.example.com"},
]
# What a step's arguments have at least.
STEP = ["--task=clean", "--pipeline=__default__", "--executor-input={}", "--job-name=j", "--job-id=1", "--job-resource-name=r", "--job-created=t"]  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_platform_is_the_same_in_every_variant(baked):
    platforms = [files_of(baked(**answers) / PLATFORM) for answers in VARIANTS]
    assert len(platforms[0]) > 100
    assert platforms[1:] == platforms[:1] * 3
    # Nothing of it was rendered either.
    for name, content in platforms[0].items():
        if name != "MANIFEST.json":
            assert content == (ROOT / "{{ cookiecutter.repo_name }}" / PLATFORM / name).read_bytes(), name


@pytest.mark.parametrize("answers", VARIANTS, ids=[answers["project_name"] for answers in VARIANTS])
def test_each_variant_passes_its_own_check(answers, bake):
    project = bake(**answers)
    checked = run("make", "check", cwd=project)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"vertexai_mlflow {__version__} is as the template made it.\n" in checked.stdout


def test_few_files_are_merged(baked):
    project = baked(**VARIANTS[0])
    assert len([name for name in files_of(project) if not name.startswith(PLATFORM)]) <= 55


def test_the_users_package_is_typed(bake):
    project = bake()
    config = [
        "--strict",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        "--allow-untyped-decorators",
        "--allow-subclassing-any",
    ]
    typed = run(BIN / "mypy", *config, "--package", "test_project", cwd=project, MYPYPATH="src")
    assert typed.returncode == 0, typed.stdout


def test_linters_leave_the_platform_out_also_where_a_file_of_it_is_named(bake):
    project = bake()
    (project / PLATFORM / "bad.py").write_text("import os,sys\n")
    for arguments in (["check", "."], ["check", f"{PLATFORM}/bad.py"], ["format", "--check", f"{PLATFORM}/bad.py"]):
        linted = run(BIN / "ruff", *arguments, cwd=project)
        assert linted.returncode == 0, linted.stdout
    assert "linguist-vendored" in (project / ".gitattributes").read_text()


def test_what_differs_from_the_manifest_is_named_and_stops_nothing(bake):
    project = bake()
    commit(project)
    tables = project / PLATFORM / "show/tables.py"
    tables.write_text(tables.read_text() + "\n# Mine.\n")
    (project / PLATFORM / "commands/ui.py").unlink()
    (project / PLATFORM / "mine.py").touch()
    names = f"{PLATFORM}/commands/ui.py (missing), {PLATFORM}/mine.py (new), {PLATFORM}/show/tables.py (changed)"
    for process in (
        run("make", "check", cwd=project),
        run(BIN / "kedro", "vertexai", "doctor", "--offline", cwd=project),
    ):
        assert f"Not as the template made it: {names}." in process.stdout
        for way_out in ("make upgrade ARGS=--restore", f"{PLATFORM}/README.md", "`owned` in .cruft.json"):
            assert way_out in process.stdout
        assert process.returncode == 0, process.stdout + process.stderr
    ran = run(BIN / "kedro", "vertexai", "plan", cwd=project)
    assert ran.returncode == 0, ran.stderr


def test_ends_of_lines_and_caches_are_no_difference(bake):
    project = bake()
    for path in (project / PLATFORM).rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (project / PLATFORM / "show/.DS_Store").touch()
    (project / PLATFORM / "show/__pycache__").mkdir(exist_ok=True)
    (project / PLATFORM / "show/__pycache__/x.pyc").touch()
    sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src")
    assert sealed.stdout == f"vertexai_mlflow {__version__} is as the template made it.\n"


def test_a_manifest_that_was_changed_with_its_file_is_noticed_by_the_record(repository, tmp_path):
    made = run(BIN / "cookiecutter", repository, "--no-input", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    project = tmp_path / "new-kedro-project"
    tables = project / PLATFORM / "show/tables.py"
    tables.write_text(tables.read_text() + "\n# Mine.\n")
    seal = "from pathlib import Path; from vertexai_mlflow.seal import write_manifest; write_manifest(Path('src/vertexai_mlflow'))"
    assert run(sys.executable, "-c", seal, cwd=project, PYTHONPATH="src").returncode == 0
    sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src")
    assert (
        f"{PLATFORM}/MANIFEST.json is not the one that the template wrote, by the hash in .cruft.json." in sealed.stdout
    )


def test_a_part_of_the_platform_that_git_ignores_is_named(bake):
    project = bake()
    (project / ".gitignore").write_text("local/\n")
    assert run("git", "init", "-q", cwd=project).returncode == 0
    sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src")
    assert "Git ignores src/vertexai_mlflow/local/__init__.py, " in sealed.stdout
    assert "Add to .gitignore: !/src/vertexai_mlflow/**" in sealed.stdout


def test_the_platform_of_another_project_is_refused_by_the_command_and_by_a_step(bake, tmp_path):
    """Two projects are installed in one environment, and the other one comes first."""
    mine, other = bake(), bake(project_name="Other Project")
    other_version(other)
    refusal = f"vertexai_mlflow was imported from {other / PLATFORM}, and not from this project's {mine / PLATFORM}."
    # As `pip install -e` of both leaves it.
    both = f"{other / 'src'}{os.pathsep}{mine / 'src'}"
    for argv in ([BIN / "kedro", "vertexai", "plan"], [sys.executable, "-m", "vertexai_mlflow.step", *STEP]):
        done = run(*argv, cwd=mine, cold=True, PYTHONPATH=both)
        assert done.returncode == 1, done.stdout
        assert refusal in " ".join(done.stderr.split()), done.stderr
        assert "Give each an environment of its own" in " ".join(done.stderr.split())


def other_version(project: Path) -> None:
    """Make a project's platform one of another version."""
    manifest = project / PLATFORM / "MANIFEST.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": "9.9.9"}))


def test_the_same_platform_from_elsewhere_is_as_good(bake, tmp_path):
    """A second project of the same version, a link to the folder, and an installed wheel of the project."""
    mine, other = bake(), bake(project_name="Other Project")
    both = f"{other / 'src'}{os.pathsep}{mine / 'src'}"
    planned = run(BIN / "kedro", "vertexai", "plan", cwd=mine, cold=True, PYTHONPATH=both)
    assert planned.returncode == 0, planned.stderr
    shutil.move(mine / PLATFORM, tmp_path / "kept")
    (mine / PLATFORM).symlink_to(tmp_path / "kept")
    planned = run(BIN / "kedro", "vertexai", "plan", cwd=mine, cold=True, PYTHONPATH=str(tmp_path))
    assert planned.returncode == 0, planned.stderr
    # A project without a copy of its own takes what is installed, of whatever version that is.
    (mine / PLATFORM).unlink()
    other_version(other)
    planned = run(BIN / "kedro", "vertexai", "plan", cwd=mine, cold=True, PYTHONPATH=str(other / "src"))
    assert planned.returncode == 0, planned.stderr


def test_a_project_in_a_monorepo_is_checked_where_it_is(bake, tmp_path):
    top = tmp_path / "monorepo"
    project = bake()
    projects = [Path(shutil.copytree(project, top / team)) for team in ("a", "b")]
    commit(top)
    (projects[1] / PLATFORM / "mine.py").touch()
    for project, words in zip(projects, ["is as the template made it", f"{PLATFORM}/mine.py (new)"], strict=True):
        sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src")
        assert words in sealed.stdout


def test_the_wheel_of_a_project_has_the_platform_and_runs(bake, tmp_path):
    project = bake()
    packaged = run(BIN / "uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path / "dist", project, cwd=project)  # fmt: skip
    assert packaged.returncode == 0, packaged.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    installed = run(BIN / "uv", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", "--python", sys.executable, wheel, cwd=tmp_path)  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    assert {"LICENSE", "README.md", "MANIFEST.json", "infra/README.md", "step/__main__.py"} <= {
        *files_of(tmp_path / "site/vertexai_mlflow")
    }
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("conf", "data"):
        shutil.copytree(project / name, elsewhere / name)
    ran = run(
        BIN / "python", "-m", "test_project", "--to-nodes=split", cwd=elsewhere, PYTHONPATH=str(tmp_path / "site")
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_readme_names_commands_and_files_that_exist_and_all_commands(baked):
    for answers in VARIANTS:
        project = baked(**answers)
        for page in ("README.md", "SECURITY.md", f"{PLATFORM}/README.md", f"{PLATFORM}/infra/README.md"):
            text = (project / page).read_text()
            folders = [
                project,
                (project / page).parent,
                *project.glob("conf/*"),
                *project.glob("src/*"),
                project / PLATFORM / "infra",
            ]
            for path in re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|yml|lock|json)|(?:src|conf|data)/[\w/]+)`", text):
                if path not in (".cruft.json", "answers.yml", "ci.yml", ".vertexai/lifecycle.json"):
                    assert any((folder / path).exists() for folder in folders), f"{page}: {path}"
        text = (project / "README.md").read_text()
        table = re.findall(r"^\| (`kedro vertexai .*?) \| ", text, re.MULTILINE)
        shown = {name for row in table for name in re.findall(r"(?:vertexai (?:-e cloud )?|, `)([a-z-]+)", row)}
        assert shown == set(COMMANDS)


def test_the_licence_in_the_platform_is_that_of_the_template():
    assert (ROOT / "LICENSE").read_bytes() == (
        ROOT / "{{ cookiecutter.repo_name }}" / PLATFORM / "LICENSE"
    ).read_bytes()
