"""Projects that exist already join the template, and then do what generated projects do."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import existing_projects as projects
import pytest
import yaml
from running import BIN, ROOT, commit, run

pytestmark = pytest.mark.slow

ADOPT = (
    "import sys; from pathlib import Path; import kedro_vertexai_mlflow as k; k.TEMPLATE = Path(sys.argv.pop(1)); "
    "from kedro_vertexai_mlflow.adopt.command import main; main(prog_name='vertexai-adopt')"
)
TEMPLATE: list[Path] = []
NO_LINTER = (
    "Makefile: `make check`, which CI runs, only runs the tests, because nothing in this project runs ruff yet. Once "
    "`make lint` passes, change the target to `check: lint`."
)
FACTS = {
    "project_id": "project-42",
    "region": "europe-west1",
    "bucket": "gs://bucket",
    "artifact_registry": "europe-west1-docker.pkg.dev/project-42/images",
    "mlflow_tracking_uri": "https://mlflow.example.com",
    "client_id": "1234567890-abc123.apps.googleusercontent.com",
    "service_account": "pipeline@project-42.iam.gserviceaccount.com",
}


def adopt(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", ADOPT, *TEMPLATE, *options, cwd=project, PYTHONPATH=str(ROOT / "src"))


@pytest.fixture(scope="module", autouse=True)
def template(repository: Path) -> None:
    """Projects join a template with an address, as it is when the package was installed from one."""
    TEMPLATE[:] = [repository]


def adopted(project: Path, *options: str) -> str:
    """Adopt without resolving a lock, and return what was printed."""
    done = adopt(project, "--yes", "--no-lock", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fill_in(project: Path) -> None:
    path = project / "conf/cloud/globals.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | FACTS))


def works(project: Path) -> str:
    """Plan, run on this machine and compile for the cloud; returns what the steps have printed."""
    for command in (["plan"], ["run-local"], ["-e", "cloud", "compile", "-o", "cloud.json"]):
        done = run(BIN / "kedro", "vertexai", *command, cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
    return "".join(path.read_text() for path in (project / ".vertexai").glob("*/*/log.txt"))


def staged(project: Path, path: str) -> tuple[list[str], list[str]]:
    """The lines of a file that were removed and added."""
    diff = run("git", "diff", "--cached", "--unified=0", "--", path, cwd=project).stdout
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    return tuple([line[1:] for line in lines if line.startswith(sign)] for sign in "-+")


def section(printed: str, title: str) -> list[str]:
    match = re.search(rf"^{title}\n((?:  .*\n)*)", printed, re.MULTILINE)
    return [line.strip() for line in match[1].splitlines()] if match else []


@pytest.fixture
def spaceflights(tmp_path) -> Path:
    return projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")


def test_spaceflights_joins_with_nothing_left_to_do(spaceflights):
    printed = adopted(spaceflights)
    assert section(printed, "Left for you to do") == [NO_LINTER]
    assert section(printed, "Your lines that change") == [
        "pyproject.toml:7: requires-python >=3.10 → >=3.11",
        "pyproject.toml:12: ipython>=8.10 → the extra `notebook`, because no step needs it",
        "pyproject.toml:13: jupyterlab>=3.0 → the extra `notebook`, because no step needs it",
        "pyproject.toml:14: kedro[jupyter]~=1.0 → kedro~=1.0",
        "pyproject.toml:16: kedro-viz>=6.7.0 → the extra `viz`, because no step needs it",
    ]
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)
    removed, added = staged(spaceflights, "pyproject.toml")
    # A list is added to behind its last item, which gets a comma where it had none.
    assert removed == [
        'requires-python = ">=3.10"', '    "ipython>=8.10",', '    "jupyterlab>=3.0",', '    "kedro[jupyter]~=1.0",  # the framework',
        '    "kedro-viz>=6.7.0",',
    ]  # fmt: skip
    assert '    "kedro~=1.0",  # the framework' in added
    assert '    "kedro-mlflow>=2.0.3,<3",' in added
    assert not staged(spaceflights, "src/spaceflights/settings.py")[0]
    assert not staged(spaceflights, ".gitignore")[0]
    record = json.loads((spaceflights / ".cruft.json").read_text())
    assert record["context"]["cookiecutter"]["python_package"] == "spaceflights"
    assert "README.md" in record["skip"]
    checked = run(BIN / "ruff", "check", "src/spaceflights/settings.py", "src/spaceflights/cli.py", cwd=spaceflights)
    assert checked.returncode == 0, checked.stdout


def test_what_was_changed_can_be_undone_and_done_again(spaceflights):
    before = run("git", "ls-files", "-s", cwd=spaceflights).stdout
    dry = adopt(spaceflights, "--dry-run")
    assert dry.returncode == 0
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""
    refused = adopt(spaceflights)
    assert refused.returncode == 1
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""
    assert section(adopted(spaceflights), "New files") == section(dry.stdout, "New files")
    assert run("git", "reset", "--hard", cwd=spaceflights).returncode == 0
    assert run("git", "ls-files", "-s", cwd=spaceflights).stdout == before
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""
    adopted(spaceflights)
    commit(spaceflights)
    assert "There is nothing to do." in adopted(spaceflights)


def test_a_project_of_kedro_0_18_runs_after_what_is_said_was_done(tmp_path):
    project = projects.write(projects.OLD, tmp_path / "Old_Project")
    printed = adopted(project)
    page = (ROOT / "docs/how-to/bring-your-project.md").read_text()
    shown = page.partition("<!-- plan:begin -->\n```text\n")[2].partition("\n```")[0]
    assert f"{shown}\n" in printed, "the page shows another plan than the command"
    scoring = "src/churn/pipelines/scoring.py"
    assert section(printed, "Left for you to do") == [
        "pyproject.toml: src/requirements.txt:9: -r more.txt: add it to pyproject.toml as a requirement, if it is still needed.",
        NO_LINTER.replace("Makefile", "vertexai.mk"),
        "conf/base/catalog_raw.yml:14: layer: move it to metadata, as `kedro-viz: {layer: …}`; datasets no longer take a layer.",
        "src/churn/datasets.py:1: kedro.io.AbstractDataSet is gone: use kedro.io.AbstractDataset.",
        "src/churn/hooks.py:6: The argument session_id of the hook after_node_run is called run_id now.",
        f"{scoring}:2: kedro.pipeline.modular_pipeline.pipeline is gone: use kedro.pipeline.",
        f"{scoring}:19: The argument pipe of pipeline() is gone: use nodes.",
        f"{scoring}:21: 'score customers': in Kedro 1, names and tags of nodes may have only letters, digits, '-', '_' and '.'.",
        "conf/base/logging.yml: Kedro 1 reads conf/logging.yml. Move it there.",
    ]  # fmt: skip
    for path, old, new in [
        ("src/churn/datasets.py", "AbstractDataSet", "AbstractDataset"),
        ("src/churn/hooks.py", "session_id", "run_id"),
        (scoring, "from kedro.pipeline.modular_pipeline import pipeline", "from kedro.pipeline import pipeline"),
        (scoring, "pipe=", "nodes="),
        (scoring, "score customers", "score_customers"),
        ("conf/base/catalog_raw.yml", "  layer: intermediate\n  metadata:\n", "  metadata:\n    kedro-viz: {layer: intermediate}\n"),
    ]:  # fmt: skip
        text = (project / path).read_text()
        assert old in text
        (project / path).write_text(text.replace(old, new))
    fill_in(project)
    message = works(project)
    assert "SCORES {'ada': True, 'bob': False}" in message
    assert "AFTER" in message
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    assert "black~=22.0" in pyproject["project"]["optional-dependencies"]["dev"]
    assert "kedro-datasets[json-jsondataset,pandas-csvdataset]>=9.6" in pyproject["project"]["dependencies"]
    assert "kedro-telemetry" in pyproject["project"]["dependencies"]
    assert pyproject["tool"]["isort"] == {"profile": "black", "extend_skip": ["src/vertexai_mlflow"]}
    # The user's Makefile stays, so CI calls the other one.
    workflow = (project / ".github/workflows/ci.yml").read_text()
    assert "run: make -f vertexai.mk install" in workflow
    assert "run: make install" not in workflow
    assert run("make", "-f", "vertexai.mk", cwd=project).returncode == 0


def test_a_project_of_kedro_vertexai_is_carried_over(tmp_path):
    project = projects.write(projects.PLUGIN, tmp_path / "plugin")
    printed = adopted(project)
    facts = yaml.safe_load((project / "conf/cloud/globals.yml").read_text())
    assert facts["project_id"] == "demand-prod-42"
    assert facts["bucket"] == "gs://demand-pipelines/root"
    assert facts["client_id"] == "1234567890-abc123.apps.googleusercontent.com"
    assert facts["mlflow_tracking_uri"] == "https://mlflow.example.com"
    assert [line.partition(" is ")[0].partition(": `")[0] for line in section(printed, "Left for you to do")] == [
        "conf/base/vertexai.yml:22: dynamic_config_providers",
        "conf/base/vertexai.yml:28: schedules",
        "Makefile",
    ]
    settings = yaml.safe_load((project / "conf/base/vertexai.yml").read_text())
    assert settings["run_config"]["grouping"] == {"cls": "IdentityNodeGrouper"}
    assert settings["run_config"]["network"] == {"vpc": "projects/42/global/networks/main"}
    # A comment of the user's that belongs to the next key stays one line.
    assert "\n  # The end\n  schedules:" in (project / "conf/base/vertexai.yml").read_text()
    provider = yaml.safe_load((project / "conf/prod/mlflow.yml").read_text())["server"]["request_header_provider"]
    assert provider["type"] == "demand.auth.gcp.MLFlowGoogleIAMRequestHeaderProvider"
    # What the user keeps out of the image stays out, whatever the template lets in.
    ignored = (project / ".dockerignore").read_text()
    assert ignored.index("!src") < ignored.index("src/private")
    assert (project / "Dockerfile").read_text() == projects.PLUGIN["Dockerfile"]
    assert "requirements.lock" in (project / "Dockerfile.vertexai").read_text()
    assert "vertexai.gitlab-ci.yml" in section(printed, "New files")
    assert "GROWN [2, 4, 6]" in works(project)
    image = json.loads((project / "cloud.json").read_text())["deploymentSpec"]["executors"]["exec-grow"]["container"][
        "image"
    ]
    assert image == "europe-west1-docker.pkg.dev/demand-prod-42/images/demand:latest"
    hello = run(BIN / "kedro", "hello", cwd=project)
    assert hello.stdout == "hello\n"
    loaded = run(
        BIN / "python", "-c", "from demand import settings; import json; a = settings.CONFIG_LOADER_ARGS; "
        "print(json.dumps([a['config_patterns'], sorted(a['custom_resolvers']), a['merge_strategy']]))",
        cwd=project, PYTHONPATH="src",
    )  # fmt: skip
    patterns, resolvers, strategy = json.loads(loaded.stdout)
    assert patterns == {"mlflow": ["mlflow*"], "vertexai": ["vertexai*", "vertexai*/**"], "spark": ["spark*"]}
    assert {"twice", "oc.env", "gcp.id_token"} <= set(resolvers)
    assert strategy == {"vertexai": "soft"}


def test_the_lock_is_resolved_from_what_was_merged(spaceflights):
    done = adopt(spaceflights, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    lock = (spaceflights / "requirements.lock").read_text()
    assert re.search(r"^scikit-learn==", lock, re.MULTILINE)
    assert not re.search(r"^(jupyterlab|cronsim)==", lock, re.MULTILINE)
    for_ci = (spaceflights / "requirements-launch.lock").read_text()
    assert all(re.search(rf"^{name}==", for_ci, re.MULTILINE) for name in ("scikit-learn", "cronsim", "ruff", "pytest"))
    assert "://" not in lock
    checked = run(BIN / "kedro", "vertexai", "doctor", "--offline", cwd=spaceflights)
    assert re.search(r"✓ lock +\d+ packages", checked.stdout), checked.stdout


def test_a_dirty_tree_is_refused(spaceflights):
    (spaceflights / "notes.txt").write_text("not committed")
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert done.stderr == ("Error: There are uncommitted changes (notes.txt …). Commit or stash them: git stash -u.\n")
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == "?? notes.txt\n"
    # Once they are committed, it joins.
    commit(spaceflights)
    adopted(spaceflights)
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)


def test_half_of_the_files_may_be_there_already(spaceflights):
    adopted(spaceflights)
    platform = spaceflights / "src/vertexai_mlflow"
    removed = len(list((platform / "cloud").glob("*.py"))) + 1
    shutil.rmtree(platform / "cloud")
    (platform / "local/cache.py").unlink()
    (spaceflights / "src/spaceflights/cli.py").unlink()
    edited = platform / "show/tables.py"
    edited.write_text(edited.read_text() + "\n# A line of the user's.\n")
    commit(spaceflights)
    printed = adopted(spaceflights)
    message = "src/vertexai_mlflow/show/tables.py: it differs from the template's. `make upgrade ARGS=--restore` puts it back."
    assert message in section(printed, "Your files that stay")
    assert f"src/vertexai_mlflow/ ({removed} files)" in section(printed, "New files")
    assert edited.read_text().endswith("# A line of the user's.\n")
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)


@pytest.mark.parametrize("kind", ["package", "module"])
def test_the_users_modules_may_have_any_name(spaceflights, kind):
    """Those of the platform have a package of their own; only the header providers lie beside the user's modules."""
    package = spaceflights / "src/spaceflights"
    (package / "errors.py").write_text("class MyError(Exception): ...\n")
    (package / "vertexai.py").write_text("MINE = 1\n")
    if kind == "package":
        (package / "auth").mkdir()
    auth = package / ("auth/__init__.py" if kind == "package" else "auth.py")
    auth.write_text("TOKEN = None\n")
    commit(spaceflights)
    adopted(spaceflights)
    assert auth.read_text() == "TOKEN = None\n"
    provider = yaml.safe_load((spaceflights / "conf/cloud/mlflow.yml").read_text())["server"]["request_header_provider"]
    assert provider["type"] == "spaceflights.mlflow_auth.gcp.MLFlowGoogleIAMRequestHeaderProvider"
    loaded = run(BIN / "python", "-c", "import spaceflights.mlflow_auth.gcp", cwd=spaceflights, PYTHONPATH="src")
    assert loaded.returncode == 0, loaded.stderr
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)


def test_no_pattern_of_the_users_gitignore_drops_a_part_of_the_platform(spaceflights):
    with (spaceflights / ".gitignore").open("a") as file:
        file.write("*.json\nlocal/\nimage*\nlib/\n")
    commit(spaceflights)
    adopted(spaceflights)
    # Nothing has to be forced from now on: a file that is new in an upgrade would be taken too.
    (spaceflights / "src/vertexai_mlflow/local/new.py").touch()
    (spaceflights / "src/vertexai_mlflow/local/__pycache__").mkdir(exist_ok=True)
    (spaceflights / "src/vertexai_mlflow/local/__pycache__/new.pyc").touch()
    others = run("git", "ls-files", "--others", "--exclude-standard", "src", cwd=spaceflights).stdout
    assert others == "src/vertexai_mlflow/local/new.py\n"


STARTERS = {
    "lint": "",
    "lint,test": "",
    "all": "lint,test,log,docs,data",
}


@pytest.mark.parametrize("tools", STARTERS)
def test_the_first_push_of_kedros_own_project_is_green(tools, tmp_path):
    """`kedro new` with its tools, `vertexai-adopt`, and then what CI calls: `make check`."""
    chosen = STARTERS[tools] or tools
    new = ["new", "--name", "Their Own", f"--tools={chosen}", "--example=n", "--telemetry=no"]
    made = run(BIN / "kedro", *new, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    project = tmp_path / "their-own"
    commit(project)
    before = findings_of_ruff(project)
    adopted(project)
    assert findings_of_ruff(project) == before
    checked = run("make", "check", cwd=project)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "vertexai_mlflow" not in checked.stdout.partition("tests coverage")[2]
    planned = run(BIN / "kedro", "vertexai", "plan", cwd=project)
    assert "Pipeline __default__" in planned.stdout + planned.stderr


def findings_of_ruff(project: Path) -> set[str]:
    """What the project's own ruff configuration finds, and the files that it would format otherwise."""
    checked = run(BIN / "ruff", "check", "--output-format=concise", ".", cwd=project).stdout.splitlines()
    formatted = run(BIN / "ruff", "format", "--check", ".", cwd=project).stdout.splitlines()
    paths = [line.partition("--> ")[2] for line in formatted if "--> " in line]
    return {line for line in checked if line.startswith(("src/", "tests/"))} | {
        path.rpartition(":")[0] for path in paths
    }


def test_a_project_that_is_linted_in_ci_stays_so(spaceflights):
    workflow = spaceflights / ".github/workflows/lint.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("on: push\njobs: {lint: {runs-on: ubuntu-latest, steps: [{run: ruff check .}]}}\n")
    commit(spaceflights)
    printed = adopted(spaceflights)
    assert section(printed, "Left for you to do") == []
    assert "\ncheck: lint ##" in (spaceflights / "Makefile").read_text()


REQUIREMENTS_ONLY = {
    **{path: text for path, text in projects.SPACEFLIGHTS.items() if path != "pyproject.toml"},
    "pyproject.toml": projects.SPACEFLIGHTS["pyproject.toml"].partition("[build-system]")[0]
    + "[tool.kedro]"
    + projects.SPACEFLIGHTS["pyproject.toml"].partition("[tool.kedro]")[2],
    "requirements.txt": "kedro[jupyter]~=1.0\nkedro-datasets[pandas-csvdataset,pandas-parquetdataset]\nscikit-learn\nipython\npytest~=8.0\n",
}


def test_a_project_with_only_requirements_txt_is_installed_from_its_locks(tmp_path):
    project = projects.write(REQUIREMENTS_ONLY, tmp_path / "spaceflights")
    done = adopt(project, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert section(done.stdout, "Your files that are removed") == ["requirements.txt"]
    assert not (project / "requirements.txt").exists()
    environment = tmp_path / "environment"
    created = run(BIN / "uv", "venv", "--quiet", "--seed", "--python", sys.executable, environment, cwd=tmp_path)
    assert created.returncode == 0, created.stderr
    alone = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "VIRTUAL_ENV": str(environment), "PIP_NO_INPUT": "1"}
    installed = run("make", "install", cwd=project, timeout=550, **alone)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    checked = run("make", "check", cwd=project, **alone)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ran = run("kedro", "vertexai", "run-local", cwd=project, **alone)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_locks_are_for_the_python_of_the_image_whichever_runs_here(spaceflights, tmp_path):
    """With another Python first on the PATH, versions would be pinned that python:3.11 cannot install."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    newer = [*kept.glob("3.13.*/bin/python"), *kept.glob("3.12.*/bin/python"), "3.13", "3.12"]
    others = tmp_path / "others"
    created = [
        run(BIN / "uv", "venv", "--quiet", "--clear", "--python", python, others, cwd=tmp_path) for python in newer[:1]
    ]
    assert created[0].returncode == 0, created[0].stderr
    adopted(spaceflights)
    locked = run("make", "lock", cwd=spaceflights, PATH=f"{others / 'bin'}:{BIN}:/usr/bin:/bin", timeout=500)
    assert locked.returncode == 0, locked.stderr
    for lock in ("requirements.lock", "requirements-launch.lock"):
        pins = re.findall(r"^(numpy|scipy)==\S+( ; .*)?", (spaceflights / lock).read_text(), re.MULTILINE)
        for name in ("numpy", "scipy"):
            markers = [marker for pinned, marker in pins if pinned == name]
            assert markers, lock
            assert len(markers) == 1 or any("< '3.12'" in marker for marker in markers), (lock, markers)


def test_nothing_is_left_behind_when_a_file_cannot_be_written(spaceflights):
    (spaceflights / ".github").write_text("a file where the template has a folder")
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace('kedro_init_version = "1.0.0"', 'kedro_init_version = "0.17.4"'), "only projects of Kedro 0.18, 0.19 or 1 can be adopted"),
        (lambda text: text.replace('source_dir = "src"', 'source_dir = "code"'), "source_dir is code"),
        (lambda text: text.replace("spaceflights", "elsewhere"), "src/elsewhere must exist"),
        (lambda text: text.replace("[tool.kedro]", "[tool.other]"), "no table [tool.kedro]"),
        (lambda text: text + "[", "cannot be read"),
        (lambda text: re.sub(r"\[project\].*(?=\[tool.setuptools.dynamic)", "[tool.poetry]\n", text, flags=re.DOTALL), "only Poetry reads"),
    ],
)  # fmt: skip
def test_what_cannot_join_is_refused_with_a_reason(spaceflights, edit, message):
    path = spaceflights / "pyproject.toml"
    path.write_text(edit(path.read_text()))
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("src/spaceflights/settings.py", b"print 'x'\n", "src/spaceflights/settings.py:1: Python 3."),
        ("conf/base/catalog.yml", b"# x\n# caf\xe9\n", "conf/base/catalog.yml:2: the file is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(spaceflights, path, content, message):
    (spaceflights / path).write_bytes(content)
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert f"Error: {message}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_git_the_project_is_refused(tmp_path):
    project = projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")
    shutil.rmtree(project / ".git")
    done = adopt(project, "--yes")
    assert done.returncode == 1
    assert "is not in a Git repository" in done.stderr
    assert not (project / "Dockerfile").exists()
