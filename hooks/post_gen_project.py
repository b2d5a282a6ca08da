"""Remove what was not chosen and what runs have left in the template, seal the platform, and record the origin."""

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
# Python and checkers leave these folders in a template, pip compiles what it installs, and cookiecutter copies them.
LEFT_OVERS = ["__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"]


def main() -> None:
    """Do this in the generated project, which is the working directory of this hook."""
    chosen = {*CI_FILES[ANSWERS["ci"]]}
    unwanted = [Path(path) for path in sorted({path for paths in CI_FILES.values() for path in paths} - chosen)]
    if ANSWERS["example"] == "no":
        unwanted += map(Path, EXAMPLE_FILES)
    remove(unwanted)
    remove(path for name in LEFT_OVERS for path in [*Path().rglob(name)])
    manifest = seal()
    # cruft tells no folder, and writes the record itself.
    if (template := template_folder()) and (origin := find_origin(template)):
        text = json.dumps({**record(*origin), "manifest": manifest}, indent=2, ensure_ascii=False)
        Path(".cruft.json").write_text(text + "\n", encoding="utf-8")


def remove(paths: Iterable[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def seal() -> str:
    """Write the manifest of the platform's folder, by the platform's own function, and return its hash."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, "src")
    from vertexai_mlflow.seal import write_manifest

    return write_manifest(Path("src/vertexai_mlflow"))


def template_folder() -> Path | None:
    """Find the template, whose folder cookiecutter names relative to where it was called, and cruft not at all."""
    if "_repo_dir" not in ANSWERS:
        return None
    starts = [ANSWERS.get("_output_dir", "."), os.environ.get("PWD", ".")]
    folders = [Path(start, ANSWERS["_repo_dir"]) for start in starts]
    return next((folder for folder in folders if (folder / "cookiecutter.json").exists()), None)


def find_origin(template: Path) -> tuple[str, str] | None:
    """Find the address and the commit of the template.

    Args:
        template: a clone of the template's repository, or the folder of the installed package.
    """
    if (template / ".git").exists() and (commit := git(template, "rev-parse", "HEAD")):
        address = git(template, "remote", "get-url", "origin")
        # A path would mean nothing on another machine, and a token for cloning is nobody else's business.
        is_address = re.match(r"[\w+.-]+://|[^/\\]{2,}:", address)
        return (re.sub(r"^(https?://)[^/]*@", r"\1", address), commit) if is_address else None
    if (packaged := template / "origin.json").exists():
        origin = json.loads(packaged.read_text())
        return origin["template"], origin["commit"]
    return None


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints, or nothing if there is no git or it refuses."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def record(template: str, commit: str) -> dict:
    """Return what cruft would have written. Variables that begin with an underscore are the template's own."""
    answers = {name: answer for name, answer in ANSWERS.items() if not name.startswith("_")}
    context = {"cookiecutter": {**answers, "_template": template, "_commit": commit}}
    return {"template": template, "commit": commit, "checkout": None, "context": context, "directory": None}


if __name__ == "__main__":
    main()
