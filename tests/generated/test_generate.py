"""The three ways to a project, the answers, and what comes out of them."""

import re
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain, product
from pathlib import Path

import pytest
import yaml
from running import BIN, ROOT, generators, run

pytestmark = pytest.mark.slow


def files(project: Path) -> dict[str, str]:
    """What a project consists of, names of the project removed; cruft's own record is not part of it."""
    made = (path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    names = re.compile(r"(new|my|kedro)[-_ ]?(kedro[-_ ])?project", re.IGNORECASE)
    return {
        names.sub("NAME", str(path.relative_to(project))): names.sub("NAME", path.read_text())
        for path in made
        if path.name != ".cruft.json" and ".git" not in path.relative_to(project).parts
    }


def pass_its_own_tests(project: Path) -> None:
    checks = [
        ["pytest", "-q"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["kedro", "vertexai", "compile"],
    ]
    for check in checks:
        done = run(BIN / check[0], *check[1:], cwd=project)
        assert done.returncode == 0, f"{check}:\n{done.stdout}\n{done.stderr}"


def test_three_ways_lead_to_equal_projects_and_one_passes_its_own_tests(repository, tmp_path):
    ways = generators(repository)
    (tmp_path / "cruft").mkdir()
    for folder, way in ways.items():
        done = run(*way, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / folder).is_dir()
    projects = [files(tmp_path / folder) for folder in ways]
    assert projects[0] == projects[1] == projects[2]
    for folder in ways:
        for path in (tmp_path / folder).rglob("*"):
            assert "{{ cookiecutter" not in str(path)
            if path.is_file():
                assert b"{{ cookiecutter" not in path.read_bytes(), path
                assert b"{%" not in path.read_bytes(), path
    pass_its_own_tests(tmp_path / "my-project")


YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 130}, document-start: disable, truthy: {check-keys: false}, "
    "comments: {min-spaces-from-content: 1}, comments-indentation: disable}}"
)
SCHEMA = ["check-jsonschema", "--builtin-schema"]


@pytest.mark.parametrize(("ci", "example"), [*product(["github", "gitlab", "none"], ["yes", "no"])])
def test_the_linters_find_nothing_in_the_files_of_a_project(ci, example, bake):
    project = bake(ci=ci, example=example)
    pass_linters(project, ["yamllint", "--strict", "-d", YAMLLINT, "."], ["hadolint", "Dockerfile"])
    if ci == "github":
        pass_github_linters(project)
    if ci == "gitlab":
        # The schema knows the file without the header that has the inputs.
        jobs = project / "jobs.gitlab-ci.yml"
        jobs.write_text((project / ".gitlab-ci.yml").read_text().partition("---\n")[2])
        pass_linters(project, [*SCHEMA, "vendor.gitlab-ci", jobs], ["shellcheck", "--shell", "bash", *scripts(project)])
    if ci != "none":
        pass_linters(project, [*SCHEMA, "vendor.renovate", "renovate.json"])


def test_the_linters_find_nothing_in_this_repositorys_own_files():
    pass_github_linters(ROOT)
    pass_linters(ROOT, ["yamllint", "--strict", "-d", YAMLLINT, ".github"], ["shellcheck", ".ci/run", ".ci/engine"])


def pass_github_linters(folder: Path) -> None:
    """actionlint calls shellcheck for each script in a workflow."""
    workflows = sorted(folder.glob(".github/workflows/*.yml"))
    assert workflows
    pass_linters(
        folder,
        ["actionlint", "-shellcheck", BIN / "shellcheck", *workflows],
        ["zizmor", "--offline", "--persona", "auditor", ".github"],
        [*SCHEMA, "vendor.github-workflows", *workflows],
        [*SCHEMA, "vendor.dependabot", ".github/dependabot.yml"],
    )


def pass_linters(folder: Path, *linters: list[str | Path]) -> None:
    for linter in linters:
        done = run(BIN / linter[0], *linter[1:], cwd=folder)
        assert done.returncode == 0, f"{linter}:\n{done.stdout}{done.stderr}"


def scripts(project: Path) -> list[str]:
    """The scripts of GitLab's jobs, written to files; GitLab puts in the inputs before a shell sees them."""
    text = re.sub(r"\$\[\[ inputs\.\w+ \]\]", "cloud", (project / ".gitlab-ci.yml").read_text())
    *_, jobs = yaml.safe_load_all(text)
    written = []
    for name, job in jobs.items():
        for section in {"script", "after_script"} & set(job):
            path = project / f"{name}-{section}.sh"
            path.write_text("\n".join(job[section]))
            written.append(path.name)
    assert len(written) == 7
    return written


def test_no_secret_is_asked_of_a_ci_system(bake):
    """Nobody stores a key: the job's own identity is exchanged. Only a package index may want a password."""
    for ci in ("github", "gitlab"):
        project = bake(ci=ci, project_name=f"With {ci}")
        for path in [*project.glob(".github/**/*.yml"), *project.glob(".gitlab-ci.yml")]:
            assert not re.search(
                r"secrets\.(?!PIP_INDEX_URL\b)|credentials_json|PRIVATE KEY|SERVICE_ACCOUNT_KEY", path.read_text()
            ), path


def test_kedro_new_asks_for_the_name_and_nothing_else(tmp_path):
    done = subprocess.run(
        [BIN / "kedro", "new", f"--starter={ROOT}", "--telemetry=no"],
        cwd=tmp_path, input="Asked For\n", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked-for/src/vertexai_mlflow/step/__main__.py").is_file()


def test_kedro_new_takes_the_cloud_facts_from_a_file(tmp_path):
    facts = {
        "gcp_project_id": "penguins-prod-42",
        "gcp_region": "europe-west1",
        "gcp_bucket": "gs://penguins-pipelines",
        "artifact_registry": "europe-west1-docker.pkg.dev/penguins-prod-42/images",
        "mlflow_tracking_uri": "https://mlflow.example.com",
        "client_id": "1234567890-abc123.apps.googleusercontent.com",
        "service_account": "pipeline@penguins-prod-42.iam.gserviceaccount.com",
    }
    names = {"project_name": "Given", "repo_name": "given-repo", "python_package": "given_package"}
    (tmp_path / "answers.yml").write_text(yaml.safe_dump({**names, "ci": "gitlab", **facts}))
    done = run(BIN / "kedro", "new", f"--starter={ROOT}", "--config", "answers.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "given-repo"
    globals_ = yaml.safe_load((project / "conf/cloud/globals.yml").read_text())
    for_ci = {"ci_service_account", "workload_identity_provider"}
    assert {value for name, value in globals_.items() if name not in for_ci} == set(facts.values())
    assert all(globals_[name].startswith("<") for name in for_ci)
    assert (project / ".gitlab-ci.yml").exists()
    assert not (project / ".github").exists()
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "compile", "-o", "spec.yaml", cwd=project)
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load((project / "spec.yaml").read_text())
    assert spec["defaultPipelineRoot"] == "gs://penguins-pipelines/given-repo/cloud"
    image = spec["deploymentSpec"]["executors"]["exec-clean"]["container"]["image"]
    assert image == "europe-west1-docker.pkg.dev/penguins-prod-42/images/given-repo:latest"


def test_without_the_example_the_project_is_lean_and_still_works(bake):
    project = bake(example="no", ci="none")
    left = files(project)
    assert not [name for name in left if re.search("penguin|data/|github|gitlab|renovate|workflows", name)]
    assert "scikit-learn" not in left["pyproject.toml"]
    pass_its_own_tests(project)
    done = run(BIN / "kedro", "vertexai", "run-local", cwd=project, cold=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answer", "value", "example"),
    [
        ("gcp_project_id", "Penguins", "penguins-prod-42"),
        ("gcp_region", "Europe", "europe-west1"),
        ("gcp_bucket", "penguins", "gs://penguins-pipelines"),
        ("artifact_registry", "gcr.io/penguins", "europe-west1-docker.pkg.dev/penguins-prod-42/images"),
        ("mlflow_tracking_uri", "mlflow", "https://mlflow.example.com"),
        ("client_id", "me", "1234567890-abc123.apps.googleusercontent.com"),
        ("service_account", "robot", "pipeline@penguins-prod-42.iam.gserviceaccount.com"),
        ("repo_name", "../up", "penguin-species"),
        ("project_name", "3 Penguins", "Penguin Species"),
        ("project_name", 'a"""', "Penguin Species"),
        ("python_package", "class", "Python keyword"),
        ("python_package", "json", "standard library"),
        ("python_package", "mlflow", "is the name of a dependency"),
        ("python_package", "My-Package", "penguin_species"),
    ],
)
def test_a_wrong_answer_ends_with_a_sentence_before_a_file_is_written(answer, value, example, tmp_path):
    answers = {"project_name": "Fine", "python_package": "fine", "repo_name": "fine", answer: value}
    extra = [f"{name}={text}" for name, text in answers.items()]
    done = run(BIN / "cookiecutter", ROOT, "--no-input", *extra, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{answer}: '{value}'" in done.stderr
    assert example in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_taken_names_are_those_of_the_dependencies(bake):
    """Every distribution the project names, by the name it is imported by."""
    hook: dict = {}
    source = (ROOT / "hooks/pre_gen_project.py").read_text()
    exec(source.replace("{{ cookiecutter | jsonify }}", "{}"), hook)
    project = tomllib.loads((bake() / "pyproject.toml").read_text())["project"]
    requirements = list(chain(project["dependencies"], *project["optional-dependencies"].values()))
    distributions = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}
    imported_as = {
        name for name, owners in packages_distributions().items() if {owner.lower() for owner in owners} & distributions
    }
    public = {name for name in imported_as if not name.startswith("_")}
    assert distributions
    assert public - {"pytest", "py"} <= hook["RESERVED_NAMES"]
