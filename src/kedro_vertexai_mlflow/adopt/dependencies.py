"""pyproject.toml and requirement files → a pyproject.toml with what the template needs. Comments and order stay."""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tomlkit.items import Array

from .changes import Change, line_of

# Kedro's older projects keep these beside their dependencies. The image does not need them.
DEV_TOOLS = {
    "black", "flake8", "ipykernel", "ipython", "isort", "jupyter", "jupyterlab", "jupyterlab-server", "kedro-viz",
    "mypy", "nbstripout", "notebook", "pre-commit", "pylint", "pytest", "pytest-cov", "pytest-mock", "ruff", "sphinx",
}  # fmt: skip
# The plugin whose command has the same name, and which needs Kedro 0.
REPLACED_BY_US = "kedro-vertexai"
# The other extras of Kedro 0 were datasets.
KEDROS_EXTRAS = {"all", "benchmark", "docs", "jupyter", "pydantic", "server", "test"}


def merge_pyproject(theirs: str, ours: str, lock: str, requirements: Mapping[str, str]) -> Change:
    """Merge the two.

    Args:
        theirs: the project's pyproject.toml.
        ours: the one that the template makes for this project.
        lock: the template's requirements.lock. A requirement of theirs that allows its version stays.
        requirements: the project's requirement files, by path.
    """
    document, template = tomlkit.parse(theirs), tomlkit.parse(ours).unwrap()
    change = Change(theirs)
    for name in ("build-system", "project"):
        if name not in document:
            document[name] = template[name] if name == "build-system" else _new_project(template[name])
            change.added.append(f"[{name}]")
    if "setuptools" not in document["tool"] and "setuptools" in str(document["build-system"]["build-backend"]):
        document["tool"]["setuptools"] = {"packages": template["tool"]["setuptools"]["packages"]}
        change.added.append("[tool.setuptools.packages.find]")
    _set_versions(document, template, change)
    project = document["project"]
    if "dependencies" in (dynamic := project.get("dynamic", [])):
        dynamic.remove("dependencies")
        document["tool"]["setuptools"]["dynamic"].remove("dependencies")
        change.replaced.append((line_of(theirs, "dynamic"), "dynamic dependencies → dependencies"))
    groups = {"dependencies": template["project"]["dependencies"], **template["project"]["optional-dependencies"]}
    merged = _Requirements(project, theirs, change, _pins(lock), list(chain(*groups.values())))
    for path, text in requirements.items():
        merged.take(path, text)
    for group, needed in groups.items():
        merged.need(group, needed)
    change.text = tomlkit.dumps(document)
    return change


def _new_project(template: dict[str, Any]) -> dict[str, Any]:
    kept = {name: template[name] for name in ("name", "description", "requires-python")}
    return {**kept, "version": "0.1.0"}


def _set_versions(document: Any, template: dict[str, Any], change: Change) -> None:
    """Kedro refuses a project of another major version, and the template's code needs the template's Python."""
    kedro, version = document["tool"]["kedro"], template["tool"]["kedro"]["kedro_init_version"]
    old = "kedro_init_version" if "kedro_init_version" in kedro else "project_version"
    if old == "project_version" or not str(kedro[old]).startswith("1."):
        words = f"{old} {kedro[old]} → kedro_init_version {version}"
        change.replaced.append((line_of(change.text, old), words))
        kedro.remove(old)
        kedro["kedro_init_version"] = version
    python = template["project"]["requires-python"]
    theirs = document["project"].get("requires-python")
    if theirs is None:
        document["project"]["requires-python"] = python
        change.added.append("requires-python")
    elif any(SpecifierSet(theirs).contains(f"3.{minor}") for minor in range(int(python.rpartition(".")[2]))):
        change.replaced.append((line_of(change.text, "requires-python"), f"requires-python {theirs} → {python}"))
        document["project"]["requires-python"] = python


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))


class _Requirements:
    """The requirements of a project while they are merged."""

    def __init__(self, project: Any, theirs: str, change: Change, pins: dict[str, str], needed: list[str]) -> None:
        self._project = project
        self._change = change
        self._pins = pins
        self._needed = set(map(_name, needed))
        self._extras: set[str] = set()
        # Where a requirement of the user's stands: its line, and the words of the plan.
        self._places: dict[str, tuple[int, str]] = {}
        for array in [self._array("dependencies"), *project.get("optional-dependencies", {}).values()]:
            for words in map(str, list(array)):
                self._places[words] = (line_of(theirs, f'"{words}"'), words)
                self._renew(array, words)

    def take(self, path: str, text: str) -> None:
        """Take over the lines of a requirements file."""
        taken = False
        for number, line in enumerate(text.splitlines(), 1):
            if not (words := re.sub(r"(^|\s)#.*", "", line).strip()):
                continue
            place = f"{path}:{number}: {words}"
            try:
                name = _name(words)
            except InvalidRequirement:
                said = "add it to pyproject.toml as a requirement, if it is still needed."
                self._change.left.append((0, f"{place}: {said}"))
                continue
            array = self._array("dev" if name in DEV_TOOLS else "dependencies")
            if name not in map(_name, array):
                self._places[words] = (0, place)
                array.append(words)
                self._renew(array, words)
                taken = True
        if taken:
            self._change.added.append(f"what {path} requires; nothing reads that file any more")

    def need(self, group: str, needed: list[str]) -> None:
        """Add what the template needs and the project does not have, or not in that version."""
        array = self._array(group)
        have = {_name(words): str(words) for words in array}
        added = []
        for words in needed:
            name = _name(words)
            if name == "kedro-datasets":
                words = _with_extras(words, self._extras)
            if name not in have:
                array.append(words)
                added.append(words)
            elif (merged := self._merged(have[name], words)) != have[name]:
                self._replace(array, have[name], merged)
        if added:
            self._change.added.append(f"{group}: {', '.join(added)}")

    def _merged(self, theirs: str, ours: str) -> str:
        """Return the user's requirement if it allows the version in the lock, and otherwise the template's."""
        specifier, extras = Requirement(theirs).specifier, Requirement(theirs).extras
        pin = self._pins.get(_name(ours))
        if pin and not specifier.contains(pin, prereleases=True):
            return _with_extras(ours, extras)
        return _with_extras(theirs, Requirement(ours).extras)

    def _renew(self, array: Array, words: str) -> None:
        """Replace what cannot stay with Kedro 1: the other plugin, datasets in Kedro, old pins of plugins."""
        requirement = Requirement(words)
        name = _name(words)
        if name == REPLACED_BY_US:
            array.remove(words)
            line, place = self._places[words]
            self._change.replaced.append(
                (line, f"{place} → nothing; `kedro vertexai` is the project's own command now")
            )
        elif name == "kedro" and (datasets := requirement.extras - KEDROS_EXTRAS):
            self._extras |= datasets
            requirement.extras -= datasets
            self._replace(array, words, str(requirement))
        elif name.startswith("kedro-") and name not in self._needed and not requirement.specifier.contains("9999"):
            requirement.specifier = SpecifierSet()
            self._replace(array, words, str(requirement))

    def _replace(self, array: Array, old: str, new: str) -> None:
        line, place = self._places.pop(old)
        array[list(map(str, array)).index(old)] = new
        self._places[new] = (line, place)
        # What is replaced twice is told once.
        told = self._change.replaced
        told[:] = [entry for entry in told if not entry[1].startswith(f"{place} → ")]
        told.append((line, f"{place} → {new}"))

    def _array(self, group: str) -> Array:
        table = self._project if group == "dependencies" else self._project.setdefault("optional-dependencies", {})
        if group not in table:
            table[group] = tomlkit.array().multiline(True)
        found: Array = table[group]
        return found


def _name(words: str) -> str:
    return canonicalize_name(Requirement(words).name)


def _with_extras(words: str, extras: set[str]) -> str:
    """Add extras to a requirement; the words stay if it has them all. ``pandas.CSVDataSet`` is an old spelling."""
    requirement = Requirement(words)
    wanted: set[str] = {canonicalize_name(extra) for extra in requirement.extras | extras}
    if {canonicalize_name(extra) for extra in requirement.extras} == wanted:
        return words
    requirement.extras = wanted
    return str(requirement)
