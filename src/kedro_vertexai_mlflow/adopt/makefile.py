"""Adapt the template's Makefile and CI files to a project that runs no linter, and to one that has a Makefile."""

import re

from ..files import read_text
from .project import Project

# The template's Makefile, where the user's own has the usual name.
OTHER_MAKEFILE = "vertexai.mk"
LINT_LATER = (
    "`make check`, which CI runs, only runs the tests, because nothing in this project runs ruff yet. Once `make lint` "
    "passes, change the target to `check: lint`."
)
_RUFF_USERS = (".github/**/*.y*ml", ".gitlab-ci.yml", ".pre-commit-config.yaml", "Makefile", "tox.ini", "noxfile.py")


def has_linter(project: Project, template_files: dict[str, bytes]) -> bool:
    """Whether a file of the user's already runs ruff, so that their code passes it."""
    generated = {*template_files.values(), drop_linter(template_files["Makefile"])}
    files = [file for pattern in _RUFF_USERS for file in project.folder.glob(pattern)]
    return any("ruff" in read_text(file) for file in files if file.read_bytes() not in generated)


def drop_linter(makefile: bytes) -> bytes:
    """Let `make check`, which CI runs, only run the tests: code that was never linted would fail the first push."""
    return makefile.replace(b"\ncheck: lint ##", b"\ncheck: ##", 1)


def call_other_makefile(files: dict[str, bytes]) -> None:
    """Let the CI files among these, and the page about changes, call ``OTHER_MAKEFILE``."""
    for path, content in files.items():
        if path.startswith(".github/workflows/") or path.endswith(("gitlab-ci.yml", "AGENTS.md")):
            text = re.sub(r"\bmake (?=--silent|[a-z])", f"make -f {OTHER_MAKEFILE} ", content.decode())
            files[path] = text.encode()
