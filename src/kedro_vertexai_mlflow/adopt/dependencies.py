"""pyproject.toml and requirement files → a pyproject.toml with what the template needs. Comments and order stay."""

import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import chain
from typing import Any

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tomlkit.container import OutOfOrderTableProxy
from tomlkit.items import Array

from ..errors import UserError
from .changes import Change, line_of
from .kedro1 import TYPES
from .linters import add_to_list

# Kedro's projects keep these beside their dependencies, and the image does not need them: package → its extra.
NOT_FOR_STEPS = {
    **dict.fromkeys(("ipykernel", "ipython", "jupyter", "jupyterlab", "jupyterlab-server", "notebook"), "notebook"),
    "kedro-viz": "viz",
    **dict.fromkeys(
        ("black", "flake8", "isort", "mypy", "nbstripout", "pre-commit", "pylint", "pytest", "pytest-cov",
         "pytest-mock", "ruff", "sphinx"), "dev",
    ),
}  # fmt: skip
# The plugin whose command has the same name, and which needs Kedro 0.
REPLACED_BY_US = "kedro-vertexai"
# The other extras of Kedro 0 were datasets.
KEDROS_EXTRAS = {"all", "benchmark", "docs", "jupyter", "pydantic", "server", "test"}
# Extras of kedro-datasets are named after the dataset, and so have another name where that has.
_RENAMED_EXTRAS = {
    old.lower().replace(".", "-"): new.lower().replace(".", "-")
    for old, new in TYPES.items()
    if "." in old and not old.startswith("kedro") and old.lower() != new.lower()
}


def merge_pyproject(theirs: str, ours: str, lock: str, requirements: Mapping[str, str]) -> Change:
    """Merge the two.

    Args:
        theirs: the project's pyproject.toml.
        ours: the one that the template makes for this project.
        lock: the template's requirements-launch.lock. A requirement of theirs that allows its version stays.
        requirements: the project's requirement files, by path.
    """
    document, template = tomlkit.parse(_with_extras_table(theirs)), tomlkit.parse(ours).unwrap()
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
    _refuse_what_was_lost(change.text, document.unwrap())
    if "setuptools" in str(document["build-system"].get("build-backend")):
        data = template["tool"]["setuptools"]["package-data"]["vertexai_mlflow"]
        add_to_list(change, "tool.setuptools.package-data", "vertexai_mlflow", data)
        _package_the_platform(change)
    return change


def _with_extras_table(text: str) -> str:
    """Add a table for extras where tomlkit would lose one: where parts of ``project`` stand apart from each other."""
    project = tomlkit.parse(text).get("project", {})
    is_apart = isinstance(project, OutOfOrderTableProxy) and "optional-dependencies" not in project
    return f"{text.rstrip()}\n\n[project.optional-dependencies]\n" if is_apart else text


def _refuse_what_was_lost(text: str, intended: dict[str, Any]) -> None:
    """Compare what was written with what was meant, by another parser."""
    project: dict[str, Any] = tomllib.loads(text).get("project", {})
    wanted = intended["project"]
    if lost := [name for name in ("dependencies", "optional-dependencies") if project.get(name) != wanted.get(name)]:
        raise UserError(
            f"pyproject.toml: {' and '.join(lost)} cannot be written in the form that [project] has. Write [project] "
            "as one table, and [project.optional-dependencies] after it, and call this again."
        )


def _package_the_platform(change: Change) -> None:
    """Let setuptools find the platform's package where it is told which packages there are."""
    setuptools = tomllib.loads(change.text)["tool"]["setuptools"]
    packages = setuptools.get("packages", {})
    if isinstance(packages, list):
        change.left.append(
            (0, "[tool.setuptools] packages: use packages.find with where = ['src'], to find all of them.")
        )
        return
    included = packages.get("find", {}).get("include", ["*"])
    if not any(fnmatch("vertexai_mlflow", pattern) for pattern in included):
        add_to_list(change, "tool.setuptools.packages.find", "include", ["vertexai_mlflow*"])


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
        for group in ["dependencies", *project.get("optional-dependencies", {})]:
            for words in map(str, list(self._array(group))):
                self._places[words] = (line_of(theirs, f'"{words}"'), words)
                self._renew(group, words)

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
            group = NOT_FOR_STEPS.get(name, "dependencies")
            array = self._array(group)
            if name not in map(_name, array):
                self._places[words] = (0, place)
                array.append(words)
                self._renew(group, words)
                taken = True
        if taken:
            self._change.added.append(f"what {path} requires")

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
            # The user's own tools stay as they are: their code was written for these versions.
            elif group != "dev" and (merged := self._merged(have[name], words)) != have[name]:
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

    def _renew(self, group: str, words: str) -> None:
        """Replace what cannot stay with Kedro 1, and what no step needs: see ``NOT_FOR_STEPS``."""
        requirement, array = Requirement(words), self._array(group)
        name = _name(words)
        if group == "dependencies" and name in NOT_FOR_STEPS:
            extra = NOT_FOR_STEPS[name]
            array.remove(words)
            if name not in map(_name, self._array(extra)):
                self._array(extra).append(words)
            line, place = self._places[words]
            self._change.replaced.append((line, f"{place} → the extra `{extra}`, because no step needs it"))
        elif name == REPLACED_BY_US:
            array.remove(words)
            line, place = self._places[words]
            self._change.replaced.append(
                (line, f"{place} → nothing; `kedro vertexai` is the project's own command now")
            )
        elif name == "kedro" and (datasets := requirement.extras - KEDROS_EXTRAS):
            self._extras |= datasets
            requirement.extras -= datasets
            self._replace(array, words, str(requirement))
        elif name == "kedro" and "jupyter" in requirement.extras:
            requirement.extras.discard("jupyter")
            self._replace(array, words, str(requirement))
        elif name == "kedro-datasets" and (renamed := _renamed_extras(requirement.extras)) != requirement.extras:
            requirement.extras = renamed
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


def _renamed_extras(extras: set[str]) -> set[str]:
    """The extras of kedro-datasets by their names of today."""
    return {_RENAMED_EXTRAS.get(re.sub(r"[._]", "-", extra).lower(), extra) for extra in extras}


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
