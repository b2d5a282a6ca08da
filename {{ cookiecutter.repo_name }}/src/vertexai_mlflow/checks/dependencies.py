"""The lines to add to the dependencies in pyproject.toml."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def lines_to_add(missing: set[str], extras: tuple[str, ...] = ()) -> list[str]:
    """The lines for what is missing.

    Args:
        missing: modules or distributions.
        extras: extras of kedro-datasets, which are named instead where they install it.
    """
    left, lines = {canonicalize_name(name) for name in missing}, []
    for extra in extras:
        # A module is hardly ever called like its distribution: docx and python-docx, PIL and Pillow.
        if covered := {name for name in left if any(name in one for one in _installed_by(extra))}:
            left -= covered
            lines.append(f'"kedro-datasets[{extra}]>={version("kedro-datasets")}"')
    for name in sorted(left):
        found = installed(name)
        lines.append(f'"{name}>={found}"' if found else f'"{name}", or however the package of this module is called')
    return lines


def extras_of(module: str, name: str) -> tuple[str, ...]:
    """The extras of kedro-datasets that may be meant for a class."""
    package, *below = module.split(".")
    return (f"{below[0]}-{name}".lower(), below[0]) if package == "kedro_datasets" and below else ()


def _installed_by(extra: str) -> set[str]:
    """The distributions that an extra of kedro-datasets installs."""
    found: set[str] = set()
    for requirement in map(Requirement, requires("kedro-datasets") or []):
        marker = requirement.marker
        if marker and "extra" in str(marker) and marker.evaluate({"extra": extra}):
            if requirement.name == "kedro-datasets":
                found = found.union(*map(_installed_by, requirement.extras))
            else:
                found.add(canonicalize_name(requirement.name))
    return found


def installed(name: str) -> str:
    """The version of a distribution; empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
