"""Check that locks, image and CI are for one Python: the oldest one that ``requires-python`` allows."""

import re
import tomllib
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from ..contract.check import Doubt
from ..errors import UserError

# Files that name a Python → how they name it. What has no number, such as another image or a matrix, is not compared.
_IMAGE = r"(?P<words>\S*\bpython:(?P<python>\d+\.\d+)[^\s\"']*)"
_DOCKERFILE = rf"^(?:ARG BASE_IMAGE=|FROM ){_IMAGE}"
_GITLAB = rf"^\s*image:\s*[\"']?{_IMAGE}"
_GITHUB = r"^\s*(?P<words>python-version:\s*[\"']?(?P<python>\d+\.\d+)[\d.]*)"
# `make lock` writes this line.
_LOCK = r"^#\s+make lock, (?P<words>for Python (?P<python>\d+\.\d+) and newer)$"
_PLACES = {
    "requirements.lock": _LOCK,
    "requirements-launch.lock": _LOCK,
    "Dockerfile*": _DOCKERFILE,
    "*gitlab-ci.yml": _GITLAB,
    ".github/workflows/*.y*ml": _GITHUB,
}
# Images and jobs that install something else may have another Python.
_USES_LOCK = re.compile(r"\brequirements\.lock\b|\bmake +(-f +\S+ +)?(install|lock)\b")


def check_python(project: Path) -> str:
    """Compare the Python of ``requires-python`` with all files in which people write it once more.

    An image of an older Python, or a lock for a newer one, lacks packages. All else may be meant, and is a doubt.

    Args:
        project: the project's folder.
    """
    specifier, python = _read_requires_python(project), oldest_python(project)
    if not python:
        raise Doubt(
            f"pyproject.toml: requires-python {specifier or 'is missing, and'} names no oldest Python, that of locks, "
            'image and CI. Write ">=3.11", for example.'
        )
    if differences := _find_differences(project, python):
        message = (
            f"pyproject.toml: requires-python {specifier} makes Python {python} that of the locks, the image and CI, "
            f"but {', '.join(differences)}. Write {python} there, or change requires-python. For the locks: make lock"
        )
        raise UserError(message) if any(differences.values()) else Doubt(message)
    return f"{python} for the locks, the image and CI"


def oldest_python(project: Path) -> str:
    """The oldest Python 3 that ``requires-python`` allows, ``3.12``; empty if it allows all, or cannot be read."""
    try:
        allowed = SpecifierSet(_read_requires_python(project))
    except InvalidSpecifier:
        return ""
    minors = (minor for minor in range(100) if any(f"3.{minor}.{patch}" in allowed for patch in range(100)))
    return f"3.{oldest}" if (oldest := next(minors, 0)) else ""


def _read_requires_python(project: Path) -> str:
    content = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    return str(content.get("project", {}).get("requires-python", ""))


def _find_differences(project: Path, python: str) -> dict[str, bool]:
    """Return the places that name another Python, ``Dockerfile:6: python:3.11-slim``, and whether that would fail."""
    differences = {}
    for pattern, expression in _PLACES.items():
        for file in sorted(project.glob(pattern)):
            text = file.read_text(encoding="utf-8")
            if not _USES_LOCK.search(text):
                continue
            for match in re.finditer(expression, text, re.MULTILINE):
                is_older = Version(match["python"]) < Version(python)
                # What is resolved for an older Python has pins for the newer ones, too.
                if match["python"] == python or (expression == _LOCK and is_older):
                    continue
                line = text.count("\n", 0, match.start("words")) + 1
                words = re.sub("[\"']", "", match["words"])
                place = f"{file.relative_to(project).as_posix()}:{line}: {words}"
                differences[place] = expression == _LOCK or (expression == _DOCKERFILE and is_older)
    return differences
