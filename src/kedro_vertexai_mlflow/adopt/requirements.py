"""Merge requirements: those of the project, its requirement files and the template become arrays of pyproject.toml."""

import re
from itertools import chain
from typing import Any

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tomlkit.items import Array

from .changes import Change, find_line
from .kedro1 import RENAMED_EXTRAS

# Projects keep these among their dependencies, although the image does not need them: package → its extra.
NOT_FOR_STEPS = {
    **dict.fromkeys(("ipykernel", "ipython", "jupyter", "jupyterlab", "jupyterlab-server", "notebook"), "notebook"),
    "kedro-viz": "viz",
    **dict.fromkeys(
        ("black", "flake8", "isort", "mypy", "nbstripout", "pre-commit", "pylint", "pytest", "pytest-cov",
         "pytest-mock", "ruff", "sphinx"), "dev",
    ),
}  # fmt: skip
# The docs tell people to install these together. What a later group needs may be in an earlier one.
INSTALLED_TOGETHER = ("dependencies", "launch", "dev")
# The plugin needs Kedro 0, and its command has the name of the project's own.
REPLACED_PLUGIN = "kedro-vertexai"
# The other extras of Kedro 0 were datasets.
KEDRO_EXTRAS = {"all", "benchmark", "docs", "jupyter", "pydantic", "server", "test"}


class RequirementMerger:
    """Merges requirements into the arrays of a pyproject.toml.

    Args:
        project: the table ``project`` of the user's pyproject.toml, which changes.
        text: the text of that file, in which lines are counted.
        change: gets the words for the plan.
        lock: the template's requirements-launch.lock. A requirement of the user's that allows its version stays.
        needed: the template's requirements.
    """

    def __init__(self, project: Any, text: str, change: Change, lock: str, needed: list[str]) -> None:
        self._project = project
        self._change = change
        self._pins: dict[str, str] = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))
        self._needed = set(map(_read_name, needed))
        self._dataset_extras: set[str] = set()
        # Group and requirement of the user's → its line, and its place in the words of the plan.
        self._places: dict[tuple[str, str], tuple[int, str]] = {}
        for group in ["dependencies", *project.get("optional-dependencies", {})]:
            for requirement in map(str, list(self._get_array(group))):
                self._places[group, requirement] = (find_line(text, f'"{requirement}"'), requirement)
                self._modernize(group, requirement)

    def add_file(self, path: str, text: str, default_group: str) -> None:
        """Add the lines of a requirements file to a group; of ``dependencies``, what no step needs becomes an extra."""
        has_new_lines = False
        for number, line in enumerate(text.splitlines(), 1):
            if not (requirement := re.sub(r"(^|\s)#.*", "", line).strip()):
                continue
            place = f"{path}:{number}: {requirement}"
            try:
                name = _read_name(requirement)
            except InvalidRequirement:
                advice = "add it to pyproject.toml as a requirement, if it is still needed."
                self._change.todos.append((0, f"{place}: {advice}"))
                continue
            group = NOT_FOR_STEPS.get(name, default_group) if default_group == "dependencies" else default_group
            array = self._get_array(group)
            if name not in map(_read_name, array):
                self._places[group, requirement] = (0, place)
                array.append(requirement)
                self._modernize(group, requirement)
                has_new_lines = True
        if has_new_lines:
            self._change.additions.append(f"what {path} requires")

    def add_needed(self, group: str, needed: list[str]) -> None:
        """Add what the template needs and the project does not have, or not in that version."""
        array = self._get_array(group)
        earlier_groups = INSTALLED_TOGETHER[: INSTALLED_TOGETHER.index(group)] if group in INSTALLED_TOGETHER else ()
        other_groups = INSTALLED_TOGETHER if group in INSTALLED_TOGETHER else (group,)
        existing = self._list_names(group, *earlier_groups)
        additions = []
        for requirement in needed:
            name = _read_name(requirement)
            if name == "kedro-datasets":
                requirement = _add_extras(requirement, self._dataset_extras)
            # The user's own tools stay as they are: their code was written for these versions.
            for other_group in other_groups if group != "dev" else ():
                self._merge(other_group, name, requirement, with_extras=other_group == group)
            if name not in existing:
                array.append(requirement)
                additions.append(requirement)
        if additions:
            self._change.additions.append(f"{group}: {', '.join(additions)}")

    def _list_names(self, *groups: str) -> set[str]:
        return {_read_name(text) for group in groups for text in self._get_array(group)}

    def _merge(self, group: str, name: str, ours: str, *, with_extras: bool) -> None:
        """Keep the user's requirement if it allows what the template needs, and otherwise write the template's."""
        array = self._get_array(group)
        for theirs in [text for text in map(str, array) if _read_name(text) == name]:
            requirement, pin = Requirement(theirs), self._pins.get(name)
            is_allowed = (
                requirement.specifier.contains(pin, prereleases=True)
                if pin
                else _overlap(requirement.specifier, Requirement(ours).specifier)
            )
            extras = Requirement(ours).extras if with_extras else set()
            merged = _add_extras(theirs, extras) if is_allowed else _add_extras(ours, requirement.extras)
            if merged != theirs:
                self._replace(group, theirs, merged)

    def _modernize(self, group: str, text: str) -> None:
        """Replace what does not work with Kedro 1, and move what no step needs: see ``NOT_FOR_STEPS``."""
        requirement, array = Requirement(text), self._get_array(group)
        name = _read_name(text)
        line, place = self._places[group, text]
        if group == "dependencies" and name in NOT_FOR_STEPS:
            extra = NOT_FOR_STEPS[name]
            array.remove(text)
            if name not in map(_read_name, self._get_array(extra)):
                self._get_array(extra).append(text)
                self._places[extra, text] = (line, place)
            self._change.replacements.append((line, f"{place} → the extra `{extra}`, because no step needs it"))
        elif name == REPLACED_PLUGIN:
            array.remove(text)
            message = f"{place} → removed; `kedro vertexai` is the project's own command now"
            self._change.replacements.append((line, message))
        elif name == "kedro" and (removed := requirement.extras - KEDRO_EXTRAS | requirement.extras & {"jupyter"}):
            self._dataset_extras |= _rename_extras(removed - {"jupyter"})
            requirement.extras -= removed
            self._replace(group, text, str(requirement))
        elif name == "kedro-datasets" and (extras := _rename_extras(requirement.extras)) != requirement.extras:
            requirement.extras = extras
            self._replace(group, text, str(requirement))
        elif name.startswith("kedro-") and name not in self._needed and not requirement.specifier.contains("9999"):
            requirement.specifier = SpecifierSet()
            self._replace(group, text, str(requirement))

    def _replace(self, group: str, old: str, new: str) -> None:
        line, place = self._places.pop((group, old))
        array = self._get_array(group)
        array[list(map(str, array)).index(old)] = new
        self._places[group, new] = (line, place)
        # What is replaced twice, or moved and replaced, is listed once.
        replacements = self._change.replacements
        earlier = [entry for entry in replacements if entry[1].startswith(f"{place} → ")]
        replacements[:] = [entry for entry in replacements if entry not in earlier]
        suffix = f", in the extra `{group}`" if any(" → the extra " in words for _, words in earlier) else ""
        replacements.append((line, f"{place} → {new}{suffix}"))

    def _get_array(self, group: str) -> Array:
        table = self._project if group == "dependencies" else self._project.setdefault("optional-dependencies", {})
        if group not in table:
            table[group] = tomlkit.array().multiline(True)
        array: Array = table[group]
        return array


def _rename_extras(extras: set[str]) -> set[str]:
    """Return the extras of kedro-datasets by their current names, without those that are gone."""
    return {RENAMED_EXTRAS.get(canonicalize_name(extra), extra) for extra in extras} - {""}


def _overlap(theirs: SpecifierSet, ours: SpecifierSet) -> bool:
    """Whether a version that one of two specifiers names is allowed by both; always if one of them is empty."""
    versions = [bound.version.removesuffix(".*") for bound in chain(theirs, ours)]
    return not (theirs and ours) or any(version in theirs and version in ours for version in versions)


def _read_name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _add_extras(text: str, extras: set[str]) -> str:
    """Add extras to a requirement; its text stays if it has them all. ``pandas.CSVDataSet`` is an old spelling."""
    requirement = Requirement(text)
    desired: set[str] = {canonicalize_name(extra) for extra in requirement.extras | extras}
    if desired == {canonicalize_name(extra) for extra in requirement.extras}:
        return text
    requirement.extras = desired
    return str(requirement)
