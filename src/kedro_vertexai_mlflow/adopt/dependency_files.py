"""Find the files in which a project declares its dependencies: those that are read, and those that nobody reads."""

import ast
import configparser
import tomllib
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from .project import Project

# Where projects keep their dependencies, if not in pyproject.toml.
REQUIREMENT_FILES = ("requirements.txt", "src/requirements.txt")
# Where they may be, too.
_OTHER_FILES = (
    "environment*.y*ml", "conda*.y*ml", "Pipfile", "requirements*.txt", "requirements*.in", "requirements/*.txt",
    "requirements/*.in", "src/requirements*.txt", "src/requirements*.in", "setup.py", "src/setup.py", "setup.cfg",
)  # fmt: skip


def read_requirement_files(project: Project) -> dict[str, str]:
    """Return the requirement files of a project that are merged into pyproject.toml, by path."""
    dynamic_files = find_dynamic_files(tomllib.loads(project.read("pyproject.toml")))
    paths = dict.fromkeys((*REQUIREMENT_FILES, *dynamic_files))
    inside = [path for path in paths if (project.folder / path).resolve().is_relative_to(project.folder)]
    return {path: text for path in inside if (text := project.read(path))}


def find_dynamic_files(pyproject: dict[str, Any]) -> dict[str, str]:
    """Return the files that setuptools reads dependencies from, each with its group: ``dependencies``, or an extra."""
    tables: dict[str, Any] = pyproject.get("tool", {}).get("setuptools", {}).get("dynamic", {})
    groups = {"dependencies": tables.get("dependencies", {}), **tables.get("optional-dependencies", {})}
    files: dict[str, str] = {}
    for group, table in groups.items():
        paths = table.get("file", [])
        files |= dict.fromkeys([paths] if isinstance(paths, str) else paths, group)
    return files


def find_unread_files(project: Project, read: Collection[str]) -> list[str]:
    """Return the files that declare dependencies and are not among those that are read."""
    files = {file for pattern in _OTHER_FILES for file in project.folder.glob(pattern) if file.is_file()}
    paths = sorted(file.relative_to(project.folder).as_posix() for file in files)
    # pip-tools makes requirements.txt from requirements.in.
    return [
        path
        for path in paths
        if path not in read
        and f"{path.removesuffix('.in')}.txt" not in read
        and _has_dependencies(path, project.read(path))
    ]


def _has_dependencies(path: str, text: str) -> bool:
    """Whether a file has dependencies of its own; a setup.py or setup.cfg may have none, or those of another file."""
    if path.endswith("setup.py"):
        with suppress(SyntaxError):
            keywords = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)]
            values = [keyword.value for keyword in keywords if keyword.arg == "install_requires"]
            return any(isinstance(value, ast.List) and value.elts for value in values)
    if path == "setup.cfg":
        parser = configparser.ConfigParser(interpolation=None)
        with suppress(configparser.Error):
            parser.read_string(text)
        value = parser.get("options", "install_requires", fallback="").strip()
        return bool(value) and not value.startswith("file:")
    return True
