"""Whether the image and this environment have what pyproject.toml asks for, and what code and catalog import."""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ...errors import UserError
from ..compile.imports import imports_of, own_modules
from ..project import Project
from .check import Doubt
from .dependencies import extras_of, installed_by, lines_to_add


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
    declared = _declared(project)["dependencies"]
    missing = [
        line
        for line in declared
        if not any(Requirement(line).specifier.contains(pin) for pin in pinned.get(_name(line), []))
    ]
    wrong = []
    if missing:
        wrong.append(f"requirements.lock lacks what pyproject.toml asks for: {', '.join(missing)}. make lock")
    needed, perhaps = _not_asked_for(project, classes, pinned.keys() | set(map(_name, declared)))
    if needed:
        wrong.append(f"requirements.lock lacks what is imported. {_add(needed)}")
    if wrong:
        raise UserError(" ".join(wrong))
    if perhaps:
        raise Doubt(f"requirements.lock lacks what modules import that no pipeline here does. {_add(perhaps)}")
    return f"{len(pinned)} packages for the image"


def _add(lines: Mapping[str, str]) -> str:
    shown = "; ".join(f"{line} ({where})" for line, where in lines.items())
    return f"Add to pyproject.toml's dependencies: {shown}. Then: make lock"


def _not_asked_for(
    project: Project, classes: Mapping[str, type], asked: set[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The lines that are lacking → where that is needed: for what the pipelines import, and for other modules."""
    provided = packages_distributions()
    own = {path.stem for path in project.source.iterdir()} | sys.stdlib_module_names

    def lacking(modules: Iterable[str]) -> set[str]:
        tops = {name.partition(".")[0] for name in modules} - own
        return {found[0] for top in tops if asked.isdisjoint(map(canonicalize_name, found := provided.get(top, [top])))}

    needed: dict[str, str] = {}
    perhaps: dict[str, str] = {}
    loaded = {Path(file).resolve() for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    for file in own_modules(project.source):
        for line in lines_to_add(lacking(imports_of(file, in_functions=True))):
            found = needed if file.resolve() in loaded else perhaps
            found.setdefault(line, str(file.relative_to(project.path)))
    available = {canonicalize_name(name) for names in provided.values() for name in names}
    for where, class_ in classes.items():
        extras = extras_of(class_.__module__, class_.__name__)
        modules = imports_of(Path(sys.modules[class_.__module__].__file__ or "")) | {class_.__module__}
        # Pandas imports openpyxl when it meets an Excel file, for instance, and only the extra tells.
        by_extra = installed_by(extras[0]) & available - asked if extras else set()
        for line in lines_to_add(lacking(modules) | by_extra, extras):
            needed.setdefault(line, where)
    return needed, {line: where for line, where in perhaps.items() if line not in needed}


def _declared(project: Project) -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def versions(project: Project) -> str:
    """Whether what is installed is what pyproject.toml asks for."""
    declared = _declared(project)
    python = ".".join(map(str, sys.version_info[:3]))
    wrong = [] if python in SpecifierSet(declared.get("requires-python", "")) else [f"Python {python}"]
    extras = declared.get("optional-dependencies", {}).get("launch", [])
    for line in [*declared.get("dependencies", []), *extras]:
        requirement = Requirement(line)
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = ""
        if not installed or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed or 'missing'} ({requirement.specifier})")
    if wrong:
        raise UserError(f"Not what pyproject.toml asks for: {', '.join(wrong)}. pip install -e '.[launch]'")
    return f"Python {python}, " + ", ".join(f"{name} {version(name)}" for name in ("kedro", "mlflow", "kfp"))
