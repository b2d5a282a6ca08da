"""A project of one release is upgraded to the next one, with what its user has changed in between."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from running import BIN, ROOT, commit, run

pytestmark = pytest.mark.slow

UPGRADE = [sys.executable, "-c", "from kedro_vertexai_mlflow.upgrade import main; main(prog_name='vertexai-upgrade')"]
INSIDE = "{{ cookiecutter.repo_name }}"
PACKAGE = f"{INSIDE}/src/{{{{ cookiecutter.python_package }}}}"


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert old in text, path
    (folder / path).write_text(text.replace(old, new, 1))


@pytest.fixture
def template(repository, tmp_path) -> Path:
    """The template's repository, at its first release."""
    return shutil.copytree(repository, tmp_path / "template", symlinks=True)


def release(template: Path) -> None:
    """Change the template where users change their projects, and make that the next release."""
    edit(template, f"{INSIDE}/Dockerfile", "PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=1 \\\n    RELEASE=2")
    edit(template, f"{INSIDE}/conf/base/vertexai.yml", "# How the pipeline", "# In release 2: how the pipeline")
    edit(template, f"{INSIDE}/conf/base/catalog.yml", "# A dataset", "# In release 2: a dataset")
    edit(template, f"{INSIDE}/.github/workflows/ci.yml", "make install", "make install # release 2")
    edit(template, f"{INSIDE}/pyproject.toml", '"pyarrow>=18"', '"pyarrow>=19"')
    edit(template, f"{INSIDE}/README.md", "This is a", "In release 2 this is a")
    edit(template, f"{PACKAGE}/vertexai/show/__init__.py", '"""', '"""Release 2. ')
    (template / PACKAGE / "vertexai/show/progress.py").rename(template / PACKAGE / "vertexai/show/bars.py")
    for path in (template / PACKAGE).rglob("*.py"):
        path.write_text(path.read_text().replace("show.progress", "show.bars"))
    (template / PACKAGE / "vertexai/new.py").write_text('"""New in release 2."""\n')
    (template / INSIDE / "conf/logging.yml").unlink()
    (template / "VERSION").write_text("0.2.0\n")
    edit(
        template,
        "CHANGELOG.md",
        "## [",
        "## [0.2.0] - 2027-01-01\n\n### Upgrading\n\n- Call `make lock`, because the image needs a newer pyarrow.\n\n## [",
    )
    commit(template)


@pytest.fixture
def project(template, tmp_path) -> Path:
    """A project of the first release, committed and then changed in six places."""
    done = run(BIN / "cookiecutter", template, "--no-input", "project_name=My Project", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "my-project"
    commit(project)
    edit(
        project, "src/my_project/pipelines/penguins/nodes.py", "def clean_penguins", "MINE = 1\n\n\ndef clean_penguins"
    )
    edit(project, "conf/base/catalog.yml", "\nmetrics:", "\nmine:\n  type: MemoryDataset\n\nmetrics:")
    edit(project, "conf/base/vertexai.yml", "memory: 2Gi", "memory: 3Gi")
    edit(project, "Dockerfile", "WORKDIR /home/kedro\n", "RUN echo mine\nWORKDIR /home/kedro\n")
    edit(project, ".github/workflows/ci.yml", "timeout-minutes: 30", "timeout-minutes: 31")
    edit(project, "pyproject.toml", '"cloudpickle>=3.1"', '"cloudpickle>=3.1",\n    "requests"')
    edit(project, "src/my_project/vertexai/show/progress.py", "import", "# A line of mine.\nimport")
    (project / "renovate.txt").write_text("mine")
    (project / "README.md").unlink()
    commit(project)
    return project


def upgrade(project: Path, template: Path):
    return run(*UPGRADE, template, cwd=project, PYTHONPATH=str(ROOT / "src"))


def test_the_edits_of_both_sides_are_kept_and_the_project_runs(project, template):
    release(template)
    done = run("make", "upgrade", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs/how-to/follow-the-template.md").read_text()
    shown = page.partition("$ make upgrade\n")[2].partition("\n```")[0]
    assert f"{shown}\n" == done.stdout, "the page shows another output than the command"
    both = {
        "Dockerfile": ["RELEASE=2", "RUN echo mine"],
        "conf/base/vertexai.yml": ["In release 2", "memory: 3Gi"],
        "conf/base/catalog.yml": ["In release 2", "mine:"],
        ".github/workflows/ci.yml": ["# release 2", "timeout-minutes: 31"],
        "pyproject.toml": ["pyarrow>=19", '"requests"'],
        "src/my_project/vertexai/show/bars.py": ["# A line of mine."],
        "src/my_project/pipelines/penguins/nodes.py": ["MINE = 1"],
    }
    for path, parts in both.items():
        text = (project / path).read_text()
        assert "<<<<<<<" not in text
        for part in parts:
            assert part in text, path
    assert (project / "src/my_project/vertexai/new.py").exists()
    assert not (project / "conf/logging.yml").exists()
    # What the user has removed stays away.
    assert not (project / "README.md").exists()
    assert list(project.rglob("*.rej")) == []
    record = json.loads((project / ".cruft.json").read_text())
    assert record["commit"] == run("git", "rev-parse", "HEAD", cwd=template).stdout.strip()
    assert run("git", "diff", "--name-only", cwd=project).stdout == ""
    done = run(BIN / "kedro", "vertexai", "run-local", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    commit(project)
    again = upgrade(project, template)
    assert again.returncode == 0
    assert again.stdout == "The project has all that is new in the template.\n"
    checked = run(BIN / "cruft", "check", cwd=project)
    assert checked.returncode == 0, checked.stdout


def test_a_conflict_is_told_in_words_and_can_be_undone(project, template):
    edit(project, "Dockerfile", "PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=0")
    (project / "conf/logging.yml").write_text("version: 1\n")
    commit(project)
    release(template)
    done = upgrade(project, template)
    assert done.returncode == 1
    said = "Both are between <<<<<<< and >>>>>>>: keep what you need, then `git add Dockerfile`."
    assert f"  Dockerfile: you and the template have changed the same lines. {said}" in done.stdout
    assert "  conf/logging.yml: the template has removed it, and you have changed it." in done.stdout
    assert "PYTHONUNBUFFERED=0" in (project / "Dockerfile").read_text()
    assert "the template, 0.2.0" in (project / "Dockerfile").read_text()
    assert list(project.rglob("*.rej")) == []
    assert run("git", "reset", "--hard", cwd=project).returncode == 0
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


def test_a_lock_that_the_user_has_renewed_stays(project, template):
    edit(project, "requirements.lock", "cloudpickle==", "cloudpickle==99.")
    commit(project)
    edit(template, f"{INSIDE}/requirements.lock", "cloudpickle==", "cloudpickle==98.")
    commit(template)
    done = upgrade(project, template)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requirements.lock: it is yours, so it was left. Renew it: make lock" in done.stdout
    assert "cloudpickle==99." in (project / "requirements.lock").read_text()


def test_a_project_below_the_top_of_its_repository_is_upgraded_there(project, template, tmp_path):
    top = tmp_path / "monorepo"
    shutil.copytree(project, top / "teams/a", ignore=shutil.ignore_patterns(".git"))
    commit(top)
    release(template)
    done = upgrade(top / "teams/a", template)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RELEASE=2" in (top / "teams/a/Dockerfile").read_text()
    assert not (top / "Dockerfile").exists()


def test_an_adopted_project_follows_the_template(template, tmp_path):
    import projects

    old = projects.write(projects.PLUGIN, tmp_path / "plugin")
    adopt = (
        "import sys; from pathlib import Path; import kedro_vertexai_mlflow as k; k.TEMPLATE = Path(sys.argv.pop(1)); "
    )
    adopt += "from kedro_vertexai_mlflow.adopt.command import main; main()"
    done = run(
        sys.executable,
        "-c",
        adopt,
        template,
        "--yes",
        "--no-lock",
        "--ci=github",
        cwd=old,
        PYTHONPATH=str(ROOT / "src"),
    )
    assert done.returncode == 0, done.stderr
    commit(old)
    release(template)
    done = upgrade(old, template)
    assert done.returncode == 0, done.stdout + done.stderr
    # Theirs was left alone, and the template's part of it has moved on.
    assert (old / "Dockerfile").read_text() == projects.PLUGIN["Dockerfile"]
    assert "pyarrow>=19" in (old / "pyproject.toml").read_text()
    assert (old / "src/demand/vertexai/show/bars.py").exists()
    assert (old / "conf/base/vertexai.yml").read_text().startswith("# Configuration used to run the pipeline\n")


def test_what_is_missing_is_said(project, template):
    (project / "notes.txt").touch()
    dirty = upgrade(project, template)
    assert (dirty.returncode, "not committed (notes.txt" in dirty.stderr) == (1, True)
    (project / "notes.txt").unlink()
    record = json.loads((project / ".cruft.json").read_text())
    (project / ".cruft.json").write_text(json.dumps({**record, "commit": "0" * 40}))
    commit(project)
    unknown = upgrade(project, template)
    assert (unknown.returncode, f"has no commit {'0' * 40}" in unknown.stderr) == (1, True)
    (project / ".cruft.json").unlink()
    commit(project)
    without = upgrade(project, template)
    assert (without.returncode, "cruft link" in without.stderr) == (1, True)
    made = run("make", "upgrade", cwd=project)
    assert (made.returncode, "There is no .cruft.json" in made.stderr) == (2, True)
