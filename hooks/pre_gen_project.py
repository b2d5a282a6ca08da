"""Validate the answers before a file is written; a wrong one ends the generation with a sentence and an example."""

import json
import keyword
import re
import sys

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")

# Import names of what a generated project depends on, and folders of its own: a package of that name would hide them.
TAKEN = {
    "agentplatform", "cloudpickle", "click", "conf", "cronsim", "data", "fsspec", "gcsfs", "google", "kedro",
    "kedro_datasets", "kedro_datasets_benchmarks", "kedro_datasets_experimental", "kedro_docker", "kedro_mlflow", "kfp",
    "matplotlib", "mlflow", "numpy", "omegaconf", "packaging", "pandas", "pyarrow", "pydantic", "pytest", "rich",
    "ruff", "sklearn", "tests", "tzdata", "uv", "vertex_ray", "vertexai", "yaml",
}  # fmt: skip

# Answer → what it must look like, in a pattern and in words with an example. <placeholders> are filled in later.
RULES = {
    "repo_name": (
        r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?",
        "lower-case letters, digits, '-', '_' and '.', e.g. penguin-species",
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
# As in cookiecutter.json.
PLACEHOLDER = re.compile(r"<[a-z:./ -]+>")


def main() -> None:
    """Print every wrong answer and exit with 1 if there is one."""
    wrong = [
        f"{name}: '{ANSWERS[name]}' is wrong; it takes {words}."
        for name, (pattern, words) in RULES.items()
        if not re.fullmatch(pattern, ANSWERS[name]) and not PLACEHOLDER.fullmatch(ANSWERS[name])
    ]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]+", ANSWERS["project_name"]):
        wrong.append(
            f"project_name: '{ANSWERS['project_name']}' must be letters, digits, spaces, hyphens and underscores, "
            "starting with a letter, at least 2 of them, e.g. Penguin Species."
        )
    if reason := package_problem(ANSWERS["python_package"]):
        wrong.append(f"python_package: '{ANSWERS['python_package']}' {reason}; choose another, e.g. penguin_species.")
    if wrong:
        sys.exit("\n".join(wrong))


def package_problem(package: str) -> str:
    """Why a name cannot be the project's Python package; empty if it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package):
        return "is not a Python package name: lower-case letters, digits and underscores, starting with a letter"
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return "is a keyword of Python"
    if package in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    return "is the name of something the project depends on" if package in TAKEN else ""


if __name__ == "__main__":
    main()
