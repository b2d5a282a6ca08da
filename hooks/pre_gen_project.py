"""Check the answers before any file is written. The message for a wrong one says what is allowed, with an example."""

import json
import keyword
import re
import sys

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")

# Import names of a project's dependencies, and names of its folders. A package with such a name would hide them.
RESERVED_NAMES = {
    "agentplatform", "click", "cloudpickle", "conf", "cronsim", "data", "docker", "fsspec", "gcsfs", "google",
    "ipython", "jupyterlab", "kedro", "kedro_datasets", "kedro_datasets_benchmarks", "kedro_datasets_experimental",
    "kedro_docker", "kedro_mlflow", "kedro_viz", "kfp", "matplotlib", "mlflow", "notebook", "notebooks", "numpy",
    "omegaconf", "packaging", "pandas", "pip_audit", "pkg_resources", "psutil", "pyarrow", "pydantic", "pytest",
    "pytest_cov", "rich", "ruff", "setuptools", "sklearn", "tests", "tzdata", "uv", "vertex_ray", "vertexai",
    "vertexai_mlflow", "yaml",
}  # fmt: skip

# Answer → the pattern that it must match, and a description with an example. A <placeholder> is allowed too, to be
# filled in later.
RULES = {
    "repo_name": (
        r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?",
        "made of lower-case letters, digits, '-', '_' and '.', e.g. penguin-species",
    ),
    "gcp_project_id": (
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "6 to 30 lower-case letters, digits and hyphens, starting with a letter, e.g. penguins-prod-42",
    ),
    "gcp_region": (r"[a-z]+-[a-z]+\d+", "a Vertex AI region, e.g. europe-west1"),
    "gcp_bucket": (
        r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^\s\"\\]+)?",
        "a Cloud Storage URL, e.g. gs://penguins-pipelines",
    ),
    "artifact_registry": (
        r"[a-z0-9-]+-docker\.pkg\.dev/[a-z0-9.:-]+/[a-z0-9-]+",
        "an Artifact Registry repository, e.g. europe-west1-docker.pkg.dev/penguins-prod-42/images",
    ),
    "mlflow_tracking_uri": (r"https?://[^\s\"\\]+", "a URL, e.g. https://mlflow.example.com"),
    "client_id": (
        r"[\w-]+\.apps\.googleusercontent\.com",
        "an OAuth client id, e.g. 1234567890-abc123.apps.googleusercontent.com",
    ),
    "service_account": (
        r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com",
        "a service account's e-mail, e.g. pipeline@penguins-prod-42.iam.gserviceaccount.com",
    ),
}
# Placeholders look like those in cookiecutter.json.
PLACEHOLDER = re.compile(r"<[a-z:./ -]+>")


def main() -> None:
    """Print a message for every wrong answer, and exit with 1 if there is one."""
    problems = [
        f"{name}: '{ANSWERS[name]}' is not valid. It must be {description}."
        for name, (pattern, description) in RULES.items()
        if not re.fullmatch(pattern, ANSWERS[name]) and not PLACEHOLDER.fullmatch(ANSWERS[name])
    ]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]+", ANSWERS["project_name"]):
        problems.append(
            f"project_name: '{ANSWERS['project_name']}' is not valid. It must start with a letter, have at least 2 "
            "characters, and contain only letters, digits, spaces, hyphens and underscores, e.g. Penguin Species."
        )
    if reason := check_package(ANSWERS["python_package"]):
        problems.append(
            f"python_package: '{ANSWERS['python_package']}' {reason}. Choose another, e.g. penguin_species."
        )
    if problems:
        sys.exit("\n".join(problems))


def check_package(package: str) -> str:
    """Return why a name cannot be the project's Python package, or nothing if it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package):
        return "must start with a letter and contain only lower-case letters, digits and underscores"
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return "is a Python keyword"
    if package in sys.stdlib_module_names:
        return "is the name of a module in Python's standard library"
    return "is the name of a dependency or a folder of the project" if package in RESERVED_NAMES else ""


if __name__ == "__main__":
    main()
