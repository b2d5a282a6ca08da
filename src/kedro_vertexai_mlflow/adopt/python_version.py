"""Choose the Python of a project: ``requires-python`` goes in, the version for locks, image and CI comes out."""

import json
import tomllib
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..errors import UserError
from .project import Project


def find_oldest_python(specifier: str) -> str:
    """Return the oldest Python 3 that a specifier such as ``>=3.12,<3.14`` allows, ``3.12``; empty if none does."""
    allowed = SpecifierSet(specifier)
    minors = (minor for minor in range(100) if any(f"3.{minor}.{patch}" in allowed for patch in range(100)))
    return f"3.{oldest}" if (oldest := next(minors, None)) is not None else ""


def choose_python(project: Project, template: Path) -> str:
    """Choose the Python of locks, image and CI: the oldest one that both the project and the template support.

    Raises:
        UserError: when there is none.
    """
    known: list[str] = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["python_version"]
    specifier = str(tomllib.loads(project.read("pyproject.toml")).get("project", {}).get("requires-python", ""))
    try:
        oldest = find_oldest_python(specifier)
    except InvalidSpecifier:
        oldest = ""
    minor = int(oldest.partition(".")[2] or 100)
    if supported := [version for version in known if int(version.partition(".")[2]) >= minor]:
        return supported[0]
    raise UserError(
        f"pyproject.toml: requires-python {specifier} does not allow Python {', '.join(known[:-1])} or {known[-1]}, "
        f"which the template supports. Write it as >={known[0]}, for example."
    )
