"""Whether the image and this environment have what pyproject.toml asks for, and what code and catalog import."""

import re
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ..errors import UserError
from ..image.imports import imports_of, own_modules
from ..project import Project
from .dependencies import extras_of, installed, lines_to_add


def lock(project: Project, classes: Mapping[str, type]) -> str:
    """Whether the image, which is built from the lock, will have what is needed.

    Args:
        project: the project.
        classes: where the catalog says so → the class of a dataset that is used.
    """
    file = project.path / "requirements.lock"
    if not file.is_file():
        raise UserError("There is no requirements.lock to build the image from: make lock")
    pinned: dict[str, list[str]] = {}
    for name, pin in re.findall(r"^([\w.-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        pinned.setdefault(canonicalize_name(name), []).append(pin)
    declared = [Requirement(line) for line in _declared(project)["dependencies"]]
    missing = [
        str(wanted)
        for wanted in declared
        if not any(map(wanted.specifier.contains, pinned.get(canonicalize_name(wanted.name), [])))
    ]
    wrong = []
    if missing:
        wrong.append(f"requirements.lock lacks what pyproject.toml asks for: {', '.join(missing)}. make lock")
    needed = _not_asked_for(project, classes, pinned.keys() | {canonicalize_name(wanted.name) for wanted in declared})
    if needed:
        shown = "; ".join(f"{line} ({where})" for line, where in needed.items())
        wrong.append(
            f"requirements.lock lacks what is imported. Add to pyproject.toml's dependencies: {shown}. Then: make lock"
        )
    if wrong:
        raise UserError(" ".join(wrong))
    return f"{len(pinned)} packages for the image"


def _not_asked_for(project: Project, classes: Mapping[str, type], asked: set[str]) -> dict[str, str]:
    """The lines that are lacking for what modules and datasets import that the pipelines use → where it is needed."""
    loaded = {Path(file).resolve() for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    users: list[tuple[str, set[str], tuple[str, ...]]] = [
        (str(file.relative_to(project.path)), imports_of(file, in_functions=True), ())
        for file in own_modules(project.source)
        if file.resolve() in loaded
    ]
    for where, class_ in classes.items():
        module = class_.__module__
        modules = imports_of(Path(sys.modules[module].__file__ or "")) | {module}
        users.append((where, modules, extras_of(module, class_.__name__)))
    provided = packages_distributions()
    own = {path.stem for path in project.source.iterdir()} | sys.stdlib_module_names
    needed: dict[str, str] = {}
    for where, modules, extras in users:
        tops = {name.partition(".")[0] for name in modules} - own
        found = [provided.get(top, [top]) for top in tops]
        lacking = {names[0] for names in found if asked.isdisjoint(map(canonicalize_name, names))}
        for line in lines_to_add(lacking, extras):
            needed.setdefault(line, where)
    return needed


def _declared(project: Project) -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def versions(project: Project) -> str:
    """Whether what is installed is what pyproject.toml asks for."""
    declared = _declared(project)
    python = ".".join(map(str, sys.version_info[:3]))
    wrong = [] if python in SpecifierSet(declared.get("requires-python", "")) else [f"Python {python}"]
    extras = declared.get("optional-dependencies", {}).get("launch", [])
    for line in [*declared.get("dependencies", []), *extras]:
        requirement = Requirement(line)
        found = installed(requirement.name)
        if not found or not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found or 'missing'} ({requirement.specifier})")
    if wrong:
        raise UserError(f"Not what pyproject.toml asks for: {', '.join(wrong)}. pip install -e '.[launch]'")
    return f"Python {python}, " + ", ".join(f"{name} {installed(name)}" for name in ("kedro", "mlflow", "kfp"))
