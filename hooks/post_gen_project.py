"""Remove what was not chosen or is no part of the template, set the Python, seal the platform, record the origin."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")

CI_FILES = {
    "github": [".github", "renovate.json", "tests/test_workflows.py"],
    "gitlab": [".gitlab-ci.yml", "renovate.json"],
    "none": [],
}
EXAMPLE_FILES = [
    f"src/{ANSWERS['python_package']}/pipelines/penguins",
    "conf/base/parameters_penguins.yml",
    "tests/test_penguins.py",
    "data",
]
# Files that name the Python of image and CI jobs. Cookiecutter only copies most of them. In the template it is 3.11.
PYTHON_FILES = ["Dockerfile", ".gitlab-ci.yml"]
# Python, pip and checkers leave these folders behind in a template, and cookiecutter copies them.
CACHES = ["__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"]


def main() -> None:
    """Finish the generated project, which is the working directory of this hook."""
    ci_files = {path for paths in CI_FILES.values() for path in paths}
    unwanted = [Path(path) for path in sorted(ci_files.difference(CI_FILES[ANSWERS["ci"]]))]
    if ANSWERS["example"] == "no":
        unwanted += map(Path, EXAMPLE_FILES)
    remove(unwanted)
    for name in CACHES:
        remove(list(Path().rglob(name)))
    set_python(ANSWERS["python_version"])
    manifest = seal()
    # cruft does not name the template's folder, and writes the record itself.
    if (template := find_template()) and (origin := find_origin(template)):
        text = json.dumps({**make_record(*origin), "manifest": manifest}, indent=2, ensure_ascii=False)
        Path(".cruft.json").write_text(text + "\n", encoding="utf-8")


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def set_python(version: str) -> None:
    """Let the image and the CI jobs have this Python, ``3.12``."""
    for path in [path for pattern in PYTHON_FILES for path in Path().glob(pattern)]:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(=python:|image: python:)3\.11", rf"\g<1>{version}", text)
        path.write_text(text, encoding="utf-8", newline="\n")


def seal() -> str:
    """Write the manifest of the platform's folder, by the platform's own function, and return its hash."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, "src")
    from vertexai_mlflow.seal import write_manifest

    return write_manifest(Path("src/vertexai_mlflow"))


def find_template() -> Path | None:
    """Find the template. Cookiecutter names its folder relative to where it was called, and cruft does not name it."""
    if "_repo_dir" not in ANSWERS:
        return None
    parents = [ANSWERS.get("_output_dir", "."), os.environ.get("PWD", ".")]
    folders = [Path(parent, ANSWERS["_repo_dir"]) for parent in parents]
    return next((folder for folder in folders if (folder / "cookiecutter.json").exists()), None)


def find_origin(template: Path) -> tuple[str, str] | None:
    """Find the address and the commit of the template.

    Args:
        template: a clone of the template's repository, or the folder of the installed package.
    """
    if (template / ".git").exists() and (commit := git(template, "rev-parse", "HEAD")):
        address = git(template, "remote", "get-url", "origin")
        # A path would mean nothing on another machine, and a token for cloning must stay secret.
        is_address = re.match(r"[\w+.-]+://|[^/\\]{2,}:", address)
        return (re.sub(r"^(https?://)[^/]*@", r"\1", address), commit) if is_address else None
    if (file := template / "origin.json").exists():
        origin = json.loads(file.read_text())
        return origin["template"], origin["commit"]
    return None


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints; empty if git fails or is not installed."""
    try:
        process = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


def make_record(template: str, commit: str) -> dict:
    """Return what cruft would write. Variables that begin with an underscore are the template's own."""
    answers = {name: answer for name, answer in ANSWERS.items() if not name.startswith("_")}
    context = {"cookiecutter": {**answers, "_template": template, "_commit": commit}}
    return {"template": template, "commit": commit, "checkout": None, "context": context, "directory": None}


if __name__ == "__main__":
    main()
