"""The lines to add to the dependencies in pyproject.toml."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def lines_to_add(missing: set[str], extras: tuple[str, ...] = ()) -> list[str]:
    """The lines for missing packages.

    Args:
        missing: modules or distributions.
        extras: extras of kedro-datasets, which are named instead where they install a missing package.
    """
    names = {canonicalize_name(name) for name in missing}
    lines = []
    for extra in extras:
        # A module may not have the name of its distribution: docx and python-docx, PIL and Pillow.
        if covered := {name for name in names if any(name in package for package in _packages_of(extra))}:
            names -= covered
            lines.append(f'"kedro-datasets[{extra}]>={version("kedro-datasets")}"')
    for name in sorted(names):
        pin = installed_version(name)
        lines.append(f'"{name}>={pin}"' if pin else f'"{name}", or whatever the package of this module is called')
    return lines


def extras_of(module: str, name: str) -> tuple[str, ...]:
    """The extras of kedro-datasets that a class may need."""
    package, *below = module.split(".")
    return (f"{below[0]}-{name}".lower(), below[0]) if package == "kedro_datasets" and below else ()


def _packages_of(extra: str) -> set[str]:
    """The distributions that an extra of kedro-datasets installs."""
    packages: set[str] = set()
    for requirement in map(Requirement, requires("kedro-datasets") or []):
        marker = requirement.marker
        if marker and "extra" in str(marker) and marker.evaluate({"extra": extra}):
            if requirement.name == "kedro-datasets":
                packages = packages.union(*map(_packages_of, requirement.extras))
            else:
                packages.add(canonicalize_name(requirement.name))
    return packages


def installed_version(name: str) -> str:
    """The version of a distribution; empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
