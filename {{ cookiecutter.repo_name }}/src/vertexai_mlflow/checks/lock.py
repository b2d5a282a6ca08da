"""Check that image and environment have what pyproject.toml asks for and what code and datasets import."""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import metadata, packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ..contract.check import Doubt
from ..errors import UserError, did_you_mean
from ..image.imports import imports_of, own_modules
from ..project import Project
from .dependencies import extras_of, installed_version, lines_to_add


def check_lock(project: Project, classes: Mapping[str, type]) -> str:
    """Check that the image, which is built from the lock, will have all packages that the project needs.

    Args:
        project: the project.
        classes: place in the catalog → the class of a dataset that is used.
    """
    file = project.path / "requirements.lock"
    if not file.is_file():
        raise UserError("There is no requirements.lock to build the image from. Create it: make lock")
    pinned = _versions_in(file)
    declared = [Requirement(line) for line in _declared(project)["dependencies"]]
    unpinned = [
        str(requirement)
        for requirement in declared
        if not any(map(requirement.specifier.contains, pinned.get(canonicalize_name(requirement.name), [])))
    ]
    problems = []
    if unpinned:
        problems.append(f"requirements.lock lacks what pyproject.toml asks for: {', '.join(unpinned)}. make lock")
    packages = pinned.keys() | {canonicalize_name(requirement.name) for requirement in declared}
    # Only the image of an extra has what the extra asks for, and only its steps need that.
    for other in set(project.path.glob("requirements-*.lock")) - {project.path / "requirements-launch.lock"}:
        packages |= _versions_in(other).keys()
    if differing := _find_differing(project.path / "uv.lock", pinned):
        problems.append(f"requirements.lock has what uv.lock has not: {', '.join(differing)}. make lock")
    if missing := _find_missing(project, classes, packages):
        lines = "; ".join(f"{line} ({where})" for line, where in missing.items())
        problems.append(
            f"requirements.lock lacks what is imported. Add to pyproject.toml's dependencies: {lines}. Then: make lock"
        )
    if problems:
        raise UserError(" ".join(problems))
    if doubts := [sentence for requirement in declared for sentence in _find_unknown_extras(requirement)]:
        raise Doubt(" ".join(doubts))
    return f"{len(pinned)} packages for the image"


def read_pins(lock: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The pins of a lock: name, version, and the SHA-256 of the files."""
    for entry in re.split(r"^(?=[\w.-]+==)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE):
        if match := re.match(r"([\w.-]+)==([^\s;\\]+)", entry):
            yield canonicalize_name(match[1]), match[2], re.findall(r"--hash=sha256:(\w+)", entry)


def _versions_in(lock: Path) -> dict[str, list[str]]:
    """The packages of a lock, each with its versions."""
    versions: dict[str, list[str]] = {}
    for name, version, _hashes in read_pins(lock):
        versions.setdefault(name, []).append(version)
    return versions


def _find_differing(uv_lock: Path, pinned: Mapping[str, list[str]]) -> list[str]:
    """The pins that are not in the lock of a project that uv manages; none if there is no such lock."""
    if not uv_lock.is_file():
        return []
    packages = tomllib.loads(uv_lock.read_text(encoding="utf-8")).get("package", [])
    locked = {(canonicalize_name(package["name"]), package.get("version")) for package in packages}
    return [f"{name}=={pin}" for name, pins in pinned.items() for pin in pins if (name, pin) not in locked]


def _find_unknown_extras(requirement: Requirement) -> Iterator[str]:
    """The extras that a requirement asks for and the installed package does not have."""
    if not (pin := installed_version(requirement.name)):
        return
    extras = {canonicalize_name(extra) for extra in metadata(requirement.name).get_all("Provides-Extra") or []}
    for extra in sorted(map(canonicalize_name, requirement.extras)):
        if extra not in extras:
            place = f"pyproject.toml: {requirement.name}[{extra}]: {requirement.name} {pin} has no such extra"
            yield f"{place}, so it installs nothing.{did_you_mean(extra, extras).partition(' Known:')[0]}"


def _find_missing(project: Project, classes: Mapping[str, type], packages: set[str]) -> dict[str, str]:
    """The lines to add for packages that the project's modules and datasets import → the first place that needs them.

    Only modules that the pipelines have imported count.
    """
    loaded = {Path(file).resolve() for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    users: list[tuple[str, set[str], tuple[str, ...]]] = [
        (str(file.relative_to(project.path)), imports_of(file, in_functions=True), ())
        for file in own_modules(project.source)
        if file.resolve() in loaded
    ]
    for where, class_ in classes.items():
        module = class_.__module__
        imports = imports_of(Path(sys.modules[module].__file__ or "")) | {module}
        users.append((where, imports, extras_of(module, class_.__name__)))
    distributions = packages_distributions()
    not_from_packages = {path.stem for path in project.source.iterdir()} | sys.stdlib_module_names
    lines: dict[str, str] = {}
    for where, imports, extras in users:
        modules = {name.partition(".")[0] for name in imports} - not_from_packages
        candidates = [distributions.get(module, [module]) for module in modules]
        missing = {names[0] for names in candidates if packages.isdisjoint(map(canonicalize_name, names))}
        for line in lines_to_add(missing, extras):
            lines.setdefault(line, where)
    return lines


def _declared(project: Project) -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def check_versions(project: Project) -> str:
    """Check that the installed packages are those that pyproject.toml asks for."""
    declared = _declared(project)
    python = ".".join(map(str, sys.version_info[:3]))
    problems = [] if python in SpecifierSet(declared.get("requires-python", "")) else [f"Python {python}"]
    extras = declared.get("optional-dependencies", {}).get("launch", [])
    for requirement in map(Requirement, [*declared.get("dependencies", []), *extras]):
        version = installed_version(requirement.name)
        if not version or not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement.name} {version or 'missing'} ({requirement.specifier})")
    if problems:
        raise UserError(f"Not what pyproject.toml asks for: {', '.join(problems)}. pip install -e '.[launch]'")
    versions = ", ".join(f"{name} {installed_version(name)}" for name in ("kedro", "mlflow", "kfp"))
    return f"Python {python}, {versions}"
