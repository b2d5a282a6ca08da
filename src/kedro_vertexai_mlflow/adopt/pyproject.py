"""Merge pyproject.toml: the project's and the template's go in, one comes out. Comments and order stay."""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import chain
from typing import Any

import tomlkit
from packaging.specifiers import SpecifierSet
from tomlkit.container import OutOfOrderTableProxy

from ..errors import UserError
from .changes import Change, find_line
from .dependency_files import find_dynamic_files
from .linters import add_to_list
from .python_version import find_oldest_python
from .requirements import RequirementMerger


def merge_pyproject(theirs: str, ours: str, lock: str, requirements: Mapping[str, str]) -> Change:
    """Merge both files.

    Args:
        theirs: the project's pyproject.toml.
        ours: the one that the template generates for this project.
        lock: the template's requirements-launch.lock.
        requirements: the project's requirement files, by path.
    """
    document, template = tomlkit.parse(_add_extras_table(theirs)), tomlkit.parse(ours).unwrap()
    change = Change(theirs)
    for name in ("build-system", "project"):
        if name not in document:
            document[name] = template[name] if name == "build-system" else _create_project_table(template[name])
            change.additions.append(f"[{name}]")
    if "setuptools" not in document["tool"] and "setuptools" in str(document["build-system"]["build-backend"]):
        document["tool"]["setuptools"] = {"packages": template["tool"]["setuptools"]["packages"]}
        change.additions.append("[tool.setuptools.packages.find]")
    _set_versions(document, template, change)
    _make_static(document, change)
    groups = {"dependencies": template["project"]["dependencies"], **template["project"]["optional-dependencies"]}
    merger = RequirementMerger(document["project"], theirs, change, lock, list(chain(*groups.values())))
    dynamic_files = find_dynamic_files(tomllib.loads(theirs))
    for path, text in requirements.items():
        merger.add_file(path, text, dynamic_files.get(path, "dependencies"))
    for group, needed in groups.items():
        merger.add_needed(group, needed)
    change.text = tomlkit.dumps(document)
    _verify(change.text, document.unwrap())
    if "setuptools" in str(document["build-system"].get("build-backend")):
        data = template["tool"]["setuptools"]["package-data"]["vertexai_mlflow"]
        add_to_list(change, "tool.setuptools.package-data", "vertexai_mlflow", data)
        _package_the_platform(change)
    return change


def _make_static(document: Any, change: Change) -> None:
    """Let no build backend look for dependencies elsewhere, because pyproject.toml has them all."""
    dynamic = document["project"].get("dynamic", [])
    tables = document["tool"].get("setuptools", {}).get("dynamic", {})
    line = find_line(change.text, "dynamic")
    for name in ("dependencies", "optional-dependencies"):
        if name not in dynamic:
            continue
        dynamic.remove(name)
        if name in tables:
            tables.remove(name)
            change.replacements.append((line, f"dynamic {name} → {name}"))
        else:
            message = f"dynamic {name}: they are written elsewhere. Add them to [project] {name}."
            change.todos.append((line, message))


def _add_extras_table(text: str) -> str:
    """Add a table for extras where tomlkit would lose one: where parts of ``project`` are apart from each other."""
    project = tomlkit.parse(text).get("project", {})
    is_apart = isinstance(project, OutOfOrderTableProxy) and "optional-dependencies" not in project
    return f"{text.rstrip()}\n\n[project.optional-dependencies]\n" if is_apart else text


def _verify(text: str, intended: dict[str, Any]) -> None:
    """Compare the text with the intended document, by another parser.

    Raises:
        UserError: when requirements were lost.
    """
    project: dict[str, Any] = tomllib.loads(text).get("project", {})
    tables = ("dependencies", "optional-dependencies")
    if missing := [name for name in tables if project.get(name) != intended["project"].get(name)]:
        raise UserError(
            f"pyproject.toml: {' and '.join(missing)} cannot be added to [project] as it is written. Write [project] "
            "as one table, followed by [project.optional-dependencies], and run this again."
        )


def _package_the_platform(change: Change) -> None:
    """Let setuptools find the platform's package, even if the project lists its packages."""
    setuptools = tomllib.loads(change.text)["tool"]["setuptools"]
    packages = setuptools.get("packages", {})
    if isinstance(packages, list):
        change.todos.append(
            (0, "[tool.setuptools] packages: use packages.find with where = ['src'], to find all of them.")
        )
        return
    patterns = packages.get("find", {}).get("include", ["*"])
    if not any(fnmatch("vertexai_mlflow", pattern) for pattern in patterns):
        add_to_list(change, "tool.setuptools.packages.find", "include", ["vertexai_mlflow*"])


def _create_project_table(template: dict[str, Any]) -> dict[str, Any]:
    return {name: template[name] for name in ("name", "description", "requires-python")} | {"version": "0.1.0"}


def _set_versions(document: Any, template: dict[str, Any], change: Change) -> None:
    """Set the versions: Kedro refuses another major version, and the template's code needs the template's Python."""
    kedro, version = document["tool"]["kedro"], template["tool"]["kedro"]["kedro_init_version"]
    old = "kedro_init_version" if "kedro_init_version" in kedro else "project_version"
    if old == "project_version" or not str(kedro[old]).startswith("1."):
        message = f"{old} {kedro[old]} → kedro_init_version {version}"
        change.replacements.append((find_line(change.text, old), message))
        kedro.remove(old)
        kedro["kedro_init_version"] = version
    python = SpecifierSet(template["project"]["requires-python"])
    theirs = document["project"].get("requires-python")
    if theirs is None:
        document["project"]["requires-python"] = str(python)
        change.additions.append("requires-python")
    elif find_oldest_python(theirs) != find_oldest_python(str(python)):
        document["project"]["requires-python"] = new = str(_raise_python(SpecifierSet(theirs), python))
        change.replacements.append((find_line(change.text, "requires-python"), f"requires-python {theirs} → {new}"))


def _raise_python(theirs: SpecifierSet, python: SpecifierSet) -> SpecifierSet:
    """Return the template's Python, with the upper bounds of the user's that allow it."""
    bounds = [str(bound) for bound in theirs if bound.operator.startswith("<")]
    (oldest,) = (bound.version for bound in python)
    return SpecifierSet(",".join([str(python), *[bound for bound in bounds if oldest in SpecifierSet(bound)]]))
