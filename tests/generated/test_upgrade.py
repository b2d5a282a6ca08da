"""A project of one release is upgraded to the next one, with what its user has changed in between."""

import json
import re
import shutil
import sys
from pathlib import Path

import existing_projects as projects
import pytest
from running import BIN, ROOT, commit, copy_working_tree, run

pytestmark = pytest.mark.slow

UPGRADE = [
    sys.executable,
    "-c",
    "from kedro_vertexai_mlflow.upgrade.command import main; main(prog_name='vertexai-upgrade')",
]
INSIDE = "{{ cookiecutter.repo_name }}"
PLATFORM = "src/vertexai_mlflow"
# The last commit of version 0.1.0, which has no tag.
VERSION_0_1_0 = "44f540a"


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert old in text, path
    (folder / path).write_text(text.replace(old, new, 1))


@pytest.fixture
def template(repository, tmp_path) -> Path:
    """The template's repository, at its first release."""
    return with_own_address(shutil.copytree(repository, tmp_path / "template", symlinks=True))


def with_own_address(template: Path) -> Path:
    """A copy of a repository is cloned from where it is."""
    assert run("git", "remote", "set-url", "origin", f"file://{template}", cwd=template).returncode == 0
    return template


def release(template: Path) -> None:
    """Change the template where users change their projects, and make that the next release."""
    edit(template, f"{INSIDE}/Dockerfile", "PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=1 \\\n    RELEASE=2")
    edit(template, f"{INSIDE}/conf/base/vertexai.yml", "# How the pipeline", "# In release 2: how the pipeline")
    edit(template, f"{INSIDE}/conf/base/catalog.yml", "# A dataset", "# In release 2: a dataset")
    edit(template, f"{INSIDE}/.github/workflows/ci.yml", "make install", "make install # release 2")
    edit(template, f"{INSIDE}/pyproject.toml", '"pyarrow>=18"', '"pyarrow>=19"')
    edit(template, f"{INSIDE}/README.md", "This is a", "In release 2 this is a")
    platform = template / INSIDE / PLATFORM
    edit(platform, "show/__init__.py", '"""', '"""Release 2. ')
    (platform / "show/progress.py").rename(platform / "show/bars.py")
    for path in platform.rglob("*.py"):
        path.write_text(path.read_text().replace("show.progress", "show.bars"))
    (platform / "new.py").write_text('"""New in release 2."""\n')
    edit(platform, "__init__.py", '__version__ = "0.2.0"', '__version__ = "0.3.0"')
    (template / INSIDE / "conf/logging.yml").unlink()
    edit(
        template,
        "CHANGELOG.md",
        "## [",
        "## [0.3.0] - 2027-01-01\n\n### Upgrading\n\n- Call `make lock`, because the image needs a newer pyarrow.\n\n## [",
    )
    commit(template)


@pytest.fixture
def project(template, tmp_path) -> Path:
    """A project of the first release, committed and then changed in seven places, one of them in the platform."""
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
    edit(project, f"{PLATFORM}/show/progress.py", "import", "# A line of mine.\nimport")
    (project / "renovate.txt").write_text("mine")
    (project / "README.md").unlink()
    commit(project)
    return project


def upgrade(project: Path, template: Path, *options: str):
    return run(*UPGRADE, template, "--yes", *options, cwd=project, PYTHONPATH=str(ROOT / "src"))


def without_commits(printed: str) -> str:
    """What a command prints, with commits as the page shows them."""
    return re.sub(r"\(([0-9a-f]{8})\)", "(…)", printed)


def test_the_edits_of_both_sides_are_kept_and_the_project_runs(project, template):
    release(template)
    done = run("make", "upgrade", "ARGS=--yes", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs/how-to/follow-the-template.md").read_text()
    shown = page.partition("$ make upgrade\n")[2].partition("\n```")[0]
    assert f"{shown}\n" == without_commits(done.stdout), "the page shows another output than the command"
    both = {
        "Dockerfile": ["RELEASE=2", "RUN echo mine"],
        "conf/base/vertexai.yml": ["In release 2", "memory: 3Gi"],
        "conf/base/catalog.yml": ["In release 2", "mine:"],
        ".github/workflows/ci.yml": ["# release 2", "timeout-minutes: 31"],
        "pyproject.toml": ["pyarrow>=19", '"requests"'],
        "src/my_project/pipelines/penguins/nodes.py": ["MINE = 1"],
    }
    for path, parts in both.items():
        text = (project / path).read_text()
        assert "<<<<<<<" not in text
        for part in parts:
            assert part in text, path
    assert (project / PLATFORM / "new.py").exists()
    assert not (project / PLATFORM / "show/progress.py").exists()
    assert "+# A line of mine." in (project / ".vertexai/platform-0.2.0.patch").read_text()
    sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src")
    assert sealed.stdout == "vertexai_mlflow 0.3.0 is as the template made it.\n"
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
    assert again.stdout == "The project is up to date with the template.\n"
    checked = run(BIN / "cruft", "check", cwd=project)
    assert checked.returncode == 0, checked.stdout


def test_a_conflict_is_told_in_words_and_can_be_undone(project, template):
    edit(project, "Dockerfile", "PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=0")
    (project / "conf/logging.yml").write_text("version: 1\n")
    commit(project)
    release(template)
    done = upgrade(project, template)
    assert done.returncode == 1
    message = "Both are between <<<<<<< and >>>>>>>: keep what you need, then `git add Dockerfile`."
    assert f"  Dockerfile: you and the template have changed the same lines. {message}" in done.stdout
    assert "  conf/logging.yml: the template has removed it, and you have changed it." in done.stdout
    assert "PYTHONUNBUFFERED=0" in (project / "Dockerfile").read_text()
    assert "the template, 0.3.0" in (project / "Dockerfile").read_text()
    assert list(project.rglob("*.rej")) == []
    assert run("git", "reset", "--hard", cwd=project).returncode == 0
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.parametrize("renewed", ["requirements.lock", "requirements-launch.lock"])
def test_locks_that_the_user_has_renewed_stay(project, template, renewed):
    """`make lock` renews both, and one of them may be as it was."""
    edit(project, renewed, "cloudpickle==", "cloudpickle==99.")
    commit(project)
    for lock in ("requirements.lock", "requirements-launch.lock"):
        edit(template, f"{INSIDE}/{lock}", "cloudpickle==", "cloudpickle==98.")
    commit(template)
    done = upgrade(project, template)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "You have resolved requirements.lock and requirements-launch.lock yourself, so they were not changed. Update "
        "them: make lock" in done.stdout
    )
    assert "cloudpickle==99." in (project / renewed).read_text()
    assert "cloudpickle==98." not in (project / "requirements.lock").read_text()


def test_a_file_of_the_platform_that_the_project_owns_is_merged(project, template):
    record = json.loads((project / ".cruft.json").read_text())
    (project / ".cruft.json").write_text(json.dumps({**record, "owned": [f"{PLATFORM}/show/tables.py"]}))
    edit(project, f"{PLATFORM}/show/tables.py", "import", "# A line of mine.\nimport")
    commit(project)
    sealed = run(sys.executable, "-m", "vertexai_mlflow.seal", cwd=project, PYTHONPATH="src").stdout
    assert "show/progress.py (changed)" in sealed
    assert "tables.py" not in sealed
    release(template)
    tables = template / INSIDE / PLATFORM / "show/tables.py"
    tables.write_text(tables.read_text() + "\n# A line of release 2.\n")
    commit(template)
    done = upgrade(project, template)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (project / PLATFORM / "show/tables.py").read_text()
    assert "# A line of mine." in text
    assert "# A line of release 2." in text
    assert json.loads((project / ".cruft.json").read_text())["owned"] == [f"{PLATFORM}/show/tables.py"]


def test_what_differs_in_the_platform_is_named_and_put_back(project, template):
    (project / PLATFORM / "show/tables.py").unlink()
    (project / PLATFORM / "mine.py").write_text("x = 1\n")
    changes = ["mine.py is new.", "show/progress.py is changed.", "show/tables.py is missing."]
    verified = upgrade(project, template, "--verify")
    assert verified.returncode == 1
    assert verified.stdout.splitlines() == [f"{PLATFORM}/{change}" for change in changes]
    done = run("make", "upgrade", "ARGS=--restore --yes", cwd=project)
    assert done.returncode == 0, done.stderr
    *named, last = done.stdout.splitlines()
    assert named == verified.stdout.splitlines()
    assert last.endswith("Your changes are kept in .vertexai/platform-0.2.0.patch.")
    patch = (project / ".vertexai/platform-0.2.0.patch").read_text()
    assert "+# A line of mine." in patch
    assert "+x = 1" in patch
    for path in ("mine.py", "show/progress.py", "show/tables.py"):
        ours = template / INSIDE / PLATFORM / path
        assert (project / PLATFORM / path).exists() == ours.exists()
    again = upgrade(project, template, "--verify")
    assert (again.returncode, "is as the template made it" in again.stdout) == (0, True)
    # The patch is one that Git takes.
    assert run("git", "apply", ".vertexai/platform-0.2.0.patch", cwd=project).returncode == 0
    assert (project / PLATFORM / "mine.py").read_text() == "x = 1\n"


@pytest.fixture(scope="module")
def template_since_0_1_0(tmp_path_factory) -> Path:
    """The template's repository at version 0.1.0; ``to_today`` makes its next commit the working tree."""
    template = tmp_path_factory.mktemp("since-0.1.0") / "template"
    clone = ["clone", "--quiet", "--no-checkout", str(ROOT), str(template)]
    for command, folder in ((clone, ROOT), (["checkout", "--quiet", "-B", "main", VERSION_0_1_0], template)):
        done = run("git", *command, cwd=folder)
        assert done.returncode == 0, f"{done.stderr} The test needs the history: git fetch --unshallow"
    return with_own_address(template)


def to_today(template: Path) -> None:
    assert run("git", "rm", "-rq", ".", cwd=template).returncode == 0
    copy_working_tree(template)
    assert run("git", "add", "--all", "--force", cwd=template).returncode == 0
    commit(template)


def compiled(project: Path) -> dict:
    """The spec of its pipeline, as Git does not see it."""
    done = run(BIN / "kedro", "vertexai", "compile", cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads((project / "pipeline.json").read_text())


def test_a_project_of_0_1_0_moves_and_runs(template_since_0_1_0, tmp_path):
    template = with_own_address(shutil.copytree(template_since_0_1_0, tmp_path / "template", symlinks=True))
    done = run(BIN / "cookiecutter", template, "--no-input", "project_name=My Project", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project, package = tmp_path / "my-project", "src/my_project"
    commit(project)
    before = compiled(project)
    edit(project, f"{package}/vertexai/show/tables.py", "import", "# My table.\nimport")
    edit(project, "infra/wanted.py", "from", "# My bucket.\nfrom")
    (project / package / "auth/mine.py").write_text(
        "from my_project.auth.mlflow_request_header_provider import RequestHeaderProviderWithKedroContext\n\n"
        "from ..errors import UserError\nfrom . import credentials  # noqa: F401\n\n\n"
        "class Mine(RequestHeaderProviderWithKedroContext):\n    error = UserError\n"
    )
    with (project / package / "settings.py").open("a") as settings:
        settings.write("\nHOOKS = ()\n")
    edit(
        project,
        f"{package}/cli.py",
        "cli.add_command(vertexai)",
        'cli.add_command(vertexai)\n\n\n@cli.command("mine")\ndef mine() -> None:\n    """Mine."""',
    )
    edit(
        project,
        "conf/base/vertexai.yml",
        "run_config:",
        "run_config:\n  grouping:\n    cls: my_project.vertexai.grouping.ChainNodeGrouper",
    )
    (project / "tests/test_mine.py").write_text(
        "from my_project.vertexai.grouping import TagNodeGrouper\n\n\ndef test_mine():\n    assert TagNodeGrouper\n"
    )
    edit(project, ".github/workflows/ci.yml", "timeout-minutes: 30", "timeout-minutes: 31")
    edit(project, "README.md", "# ", "See src/my_project/vertexai/grouping.py.\n\n# ")
    commit(project)
    to_today(template)
    done = run("make", "upgrade", "ARGS=--yes", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    message = done.stdout
    edits = message.partition(" Your changes are kept in .vertexai/platform-0.1.0.patch:\n")[2].partition("\n\n")[0]
    assert edits.split("\n") == ["  infra/wanted.py: changed", f"  {package}/vertexai/show/tables.py: changed"]
    patch = (project / ".vertexai/platform-0.1.0.patch").read_text()
    assert "+# My bucket." in patch
    assert "+# My table." in patch
    renamed = message.partition("Names of modules were replaced in:\n")[2].partition("\n\n")[0].split("\n")
    assert [line.strip() for line in renamed] == [
        "conf/base/vertexai.yml", f"{package}/auth/mine.py", f"{package}/cli.py", f"{package}/settings.py", "tests/test_mine.py",
    ]  # fmt: skip
    assert (
        f"so they were not replaced. A new project has a shorter form:\n  {package}/settings.py\n  {package}/cli.py\n"
        in message
    )
    left = (
        message.partition("These lines still name something that has moved. Fix them:\n")[2]
        .partition("\n\n")[0]
        .split("\n")
    )
    assert left == ["  README.md:1: See src/my_project/vertexai/grouping.py."], left
    assert not (project / package / "vertexai").exists()
    assert not (project / "infra").exists()
    assert "cls: vertexai_mlflow.grouping.ChainNodeGrouper" in (project / "conf/base/vertexai.yml").read_text()
    assert "timeout-minutes: 31" in (project / ".github/workflows/ci.yml").read_text()
    edit(project, "conf/base/vertexai.yml", "  grouping:\n    cls: vertexai_mlflow.grouping.ChainNodeGrouper\n", "")
    # The same tasks, inputs, outputs, edges and cache settings; only the module has another name.
    after = compiled(project)
    renamed = json.dumps(before).replace("my_project.vertexai.step", "vertexai_mlflow.step")
    before, after = (re.sub('"--fingerprint=[^"]*"', '""', text) for text in (renamed, json.dumps(after)))
    # For the MLflow run: the spec itself, and which inputs of the pipeline a step logs.
    after = re.sub(r', "--(?:spec|inputs)=(?:[^"\\]|\\.)*"', "", after)
    assert json.loads(before) == json.loads(after)
    tested = run(sys.executable, "-m", "pytest", "-q", cwd=project, PYTHONPATH="src")
    assert tested.returncode == 0, tested.stdout
    ran = run(BIN / "kedro", "vertexai", "run-local", cwd=project)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert run(BIN / "kedro", "mine", cwd=project).returncode == 0
    # A second upgrade, after the user has renewed the locks.
    edit(project, "requirements-launch.lock", "cloudpickle==", "cloudpickle==99.")
    commit(project)
    release(template)
    again = run("make", "upgrade", "ARGS=--yes", cwd=project)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "You had changed" not in again.stdout
    assert (project / PLATFORM / "new.py").exists()


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
    assert (old / PLATFORM / "show/bars.py").exists()
    assert (old / "conf/base/vertexai.yml").read_text().startswith("# Configuration used to run the pipeline\n")


def test_what_is_missing_is_said(project, template):
    (project / "notes.txt").touch()
    dirty = upgrade(project, template)
    assert (dirty.returncode, "uncommitted changes (notes.txt" in dirty.stderr) == (1, True)
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
    made = run("make", "upgrade", "ARGS=--yes", cwd=project)
    assert (made.returncode, "There is no .cruft.json" in made.stderr) == (2, True)
