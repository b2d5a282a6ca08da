"""Projects that exist already join the template, and then do what generated projects do."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import projects
import pytest
import yaml
from running import BIN, ROOT, commit, run

pytestmark = pytest.mark.slow

ADOPT = [sys.executable, "-c", "from kedro_vertexai_mlflow.adopt.command import main; main(prog_name='vertexai-adopt')"]
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
    return run(*ADOPT, *options, cwd=project, PYTHONPATH=str(ROOT / "src"))


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
    found = re.search(rf"^{title}\n((?:  .*\n)*)", printed, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


@pytest.fixture
def spaceflights(tmp_path) -> Path:
    return projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")


def test_spaceflights_joins_with_nothing_left_to_do(spaceflights):
    printed = adopted(spaceflights)
    assert section(printed, "Left to you") == []
    assert section(printed, "Lines of yours that change") == ["pyproject.toml:7: requires-python >=3.10 → >=3.11"]
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)
    removed, added = staged(spaceflights, "pyproject.toml")
    assert removed == ['requires-python = ">=3.10"']
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
    assert section(printed, "Left to you") == [
        "pyproject.toml: src/requirements.txt:9: -r more.txt: add it to pyproject.toml as a requirement, if it is still needed.",
        "conf/base/catalog_raw.yml:14: layer: move it to metadata, as `kedro-viz: {layer: …}`; datasets take no layer any more.",
        "src/churn/datasets.py:1: kedro.io.AbstractDataSet is gone: use kedro.io.AbstractDataset.",
        "src/churn/hooks.py:6: The argument session_id of the hook after_node_run is called run_id now.",
        f"{scoring}:2: kedro.pipeline.modular_pipeline.pipeline is gone: use kedro.pipeline.",
        f"{scoring}:19: The argument pipe of pipeline() is gone: use nodes.",
        f"{scoring}:21: 'score customers': names and tags of nodes consist of letters, digits, '-', '_' and '.' in Kedro 1.",
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
    said = works(project)
    assert "SCORES {'ada': True, 'bob': False}" in said
    assert "AFTER" in said
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    assert "black~=22.0" in pyproject["project"]["optional-dependencies"]["dev"]
    assert "kedro-datasets[json-jsondataset,pandas-csvdataset]>=9.6" in pyproject["project"]["dependencies"]
    assert "kedro-telemetry" in pyproject["project"]["dependencies"]
    assert pyproject["tool"]["isort"] == {"profile": "black"}
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
    assert [line.partition(" is ")[0].partition(": `")[0] for line in section(printed, "Left to you")] == [
        "conf/base/vertexai.yml:22: dynamic_config_providers",
        "conf/base/vertexai.yml:28: schedules",
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
    assert re.search(r"^jupyterlab==", lock, re.MULTILINE)
    assert "://" not in lock
    checked = run(BIN / "kedro", "vertexai", "doctor", "--offline", cwd=spaceflights)
    assert re.search(r"✓ lock +\d+ packages", checked.stdout), checked.stdout


def test_a_dirty_tree_is_refused(spaceflights):
    (spaceflights / "notes.txt").write_text("not committed")
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: There are changes that are not committed (notes.txt …). Commit or stash them: git stash -u.\n"
    )
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == "?? notes.txt\n"
    # Once they are committed, it joins.
    commit(spaceflights)
    adopted(spaceflights)
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)


def test_half_of_the_files_may_be_there_already(spaceflights):
    adopted(spaceflights)
    package = spaceflights / "src/spaceflights"
    removed = len(list((package / "vertexai/cloud").glob("*.py"))) + 1
    shutil.rmtree(package / "vertexai/cloud")
    (package / "vertexai/local/cache.py").unlink()
    (package / "cli.py").unlink()
    edited = package / "vertexai/show/tables.py"
    edited.write_text(edited.read_text() + "\n# A line of the user's.\n")
    commit(spaceflights)
    printed = adopted(spaceflights)
    assert "src/spaceflights/vertexai/show/tables.py: it differs from the template's." in section(
        printed, "Files of yours that stay"
    )
    assert f"src/spaceflights/vertexai/ ({removed} files)" in section(printed, "New files")
    assert edited.read_text().endswith("# A line of the user's.\n")
    fill_in(spaceflights)
    assert "SCORE" in works(spaceflights)


def test_a_module_of_the_users_with_a_name_of_the_templates_is_refused(spaceflights):
    (spaceflights / "src/spaceflights/errors.py").write_text("class MyError(Exception): ...\n")
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert "src/spaceflights/errors.py is a module of yours" in done.stderr
    assert "UserError" in done.stderr
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""


def test_nothing_is_left_behind_when_a_file_cannot_be_written(spaceflights):
    (spaceflights / "infra").write_text("a file where the template has a folder")
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace('kedro_init_version = "1.0.0"', 'kedro_init_version = "0.17.4"'), "projects of Kedro 0.18, 0.19 and 1 are taken"),
        (lambda text: text.replace('source_dir = "src"', 'source_dir = "code"'), "source_dir is code"),
        (lambda text: text.replace("spaceflights", "elsewhere"), "src/elsewhere must exist"),
        (lambda text: text.replace("[tool.kedro]", "[tool.other]"), "no table [tool.kedro]"),
        (lambda text: text + "[", "cannot be read"),
        (lambda text: re.sub(r"\[project\].*(?=\[tool.setuptools.dynamic)", "[tool.poetry]\n", text, flags=re.DOTALL), "only Poetry reads"),
    ],
)  # fmt: skip
def test_what_cannot_join_is_refused_with_a_reason(spaceflights, edit, said):
    path = spaceflights / "pyproject.toml"
    path.write_text(edit(path.read_text()))
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert run("git", "status", "--porcelain", cwd=spaceflights).stdout == ""


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("src/spaceflights/settings.py", b"print 'x'\n", "src/spaceflights/settings.py:1: this is no Python of today"),
        ("conf/base/catalog.yml", b"# x\n# caf\xe9\n", "conf/base/catalog.yml:2: the file is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(spaceflights, path, content, said):
    (spaceflights / path).write_bytes(content)
    commit(spaceflights)
    done = adopt(spaceflights, "--yes", "--no-lock")
    assert done.returncode == 1
    assert f"Error: {said}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_git_the_project_is_refused(tmp_path):
    project = projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")
    shutil.rmtree(project / ".git")
    done = adopt(project, "--yes")
    assert done.returncode == 1
    assert "is in no Git repository" in done.stderr
    assert not (project / "Dockerfile").exists()
