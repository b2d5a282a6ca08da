"""Remove what was not chosen and what runs have left in the template, and record where the project comes from."""

import json
import re
import shutil
import subprocess
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
    unwanted += [path for name in LEFT_OVERS for path in Path().rglob(name)]
    for path in unwanted:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    # cruft tells no folder, and writes the record itself.
    if "_repo_dir" in ANSWERS and (origin := find_origin(Path(ANSWERS["_repo_dir"]))):
        Path(".cruft.json").write_text(json.dumps(record(*origin), indent=2, ensure_ascii=False) + "\n")


def find_origin(template: Path) -> tuple[str, str] | None:
    """Find the address and the commit of the template.

    Args:
        template: a clone of the template's repository, or the folder of the installed package.
    """
    if (template / ".git").exists() and (commit := git(template, "rev-parse", "HEAD")):
        address = git(template, "remote", "get-url", "origin") or str(template.resolve())
        # A token for cloning is nobody else's business.
        return re.sub(r"^(https?://)[^/]*@", r"\1", address), commit
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
