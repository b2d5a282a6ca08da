"""Read the Kedro project in a folder, or give every reason why it cannot be adopted."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..git import check_work_tree

SUPPORTED_VERSIONS = ("0.18", "0.19", "1")
_VERSIONS = f"{', '.join(SUPPORTED_VERSIONS[:-1])} or {SUPPORTED_VERSIONS[-1]}"


# As the template's hook has it.
_PROJECT_NAME = r"[A-Za-z][A-Za-z0-9 _-]+"


@dataclass(frozen=True)
class Project:
    """An existing Kedro project.

    Args:
        folder: where it is.
        name: the name that people read.
        package: its Python package, below ``src``.
        kedro_version: the version of Kedro that generated it.
    """

    folder: Path
    name: str
    package: str
    kedro_version: str

    def read(self, path: str) -> str:
        """Return a file's content; empty if there is no such file."""
        file = self.folder / path
        try:
            return file.read_bytes().decode() if file.is_file() else ""
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UserError(f"{path}:{line}: the file is not UTF-8. Save it as UTF-8 first.") from None

    def list_configuration(self, pattern: str) -> list[str]:
        """Return the YAML files below ``conf`` whose names match, in all environments."""
        paths = (self.folder / "conf").rglob(pattern)
        return sorted(path.relative_to(self.folder).as_posix() for path in paths if path.suffix in (".yml", ".yaml"))

    def list_top_modules(self) -> set[str]:
        """Return the names by which the project's code is imported: the packages and modules directly below ``src``."""
        return {path.stem for path in (self.folder / "src").iterdir()}

    def list_modules(self) -> list[str]:
        """Return the modules of the project's own code."""
        paths = [path for folder in ("src", "tests") for path in (self.folder / folder).rglob("*.py")]
        return sorted(path.relative_to(self.folder).as_posix() for path in paths)


def read_project(folder: Path) -> Project:
    """Read a project.

    Raises:
        UserError: with every reason why it cannot be adopted.
    """
    pyproject = folder / "pyproject.toml"
    if not pyproject.exists():
        older = " Its layout is that of Kedro 0.16 or older." if (folder / ".kedro.yml").exists() else ""
        raise UserError(f"{folder} has no pyproject.toml, so it is not a project of Kedro {_VERSIONS}.{older}")
    try:
        content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{pyproject} cannot be read: {error}. Fix it.") from None
    if not isinstance(kedro := content.get("tool", {}).get("kedro"), dict):
        raise UserError(f"{pyproject} has no table [tool.kedro], so this is not a Kedro project.")
    problems = _check_layout(folder, content, kedro) + check_work_tree(folder)
    if problems:
        raise UserError("\n".join(problems))
    return Project(folder, _read_name(folder, kedro), kedro["package_name"], _read_version(kedro))


def _read_name(folder: Path, kedro: dict[str, Any]) -> Any:
    return kedro.get("project_name") or folder.name


def _read_version(kedro: dict[str, Any]) -> str:
    """Return the version of Kedro in ``[tool.kedro]``. Before 0.19 its key was ``project_version``."""
    return str(kedro.get("kedro_init_version") or kedro.get("project_version") or "")


def _check_layout(folder: Path, content: dict[str, Any], kedro: dict[str, Any]) -> list[str]:
    problems = []
    version, package = _read_version(kedro), kedro.get("package_name", "")
    if not any(re.match(rf"{re.escape(supported)}(\.|$)", version) for supported in SUPPORTED_VERSIONS):
        problems.append(
            f"pyproject.toml: tool.kedro.kedro_init_version is {version or 'missing'}; only projects of Kedro "
            f"{_VERSIONS} can be adopted. Migrate the project to one of these first."
        )
    if kedro.get("source_dir", "src") != "src":
        problems.append(
            f"pyproject.toml: tool.kedro.source_dir is {kedro['source_dir']}. The image and CI expect the package in "
            "src: move it there and set source_dir to src."
        )
    elif package and not (isinstance(package, str) and re.fullmatch(r"\w+", package)):
        problems.append(f"pyproject.toml: tool.kedro.package_name is {package!r:.200}, which is no name of a package.")
    elif not package:
        problems.append("pyproject.toml: tool.kedro.package_name is missing. Name the package below src there.")
    elif not (folder / "src" / package).is_dir():
        problems.append(f"pyproject.toml: tool.kedro.package_name is {package}; src/{package} must exist.")
    name = _read_name(folder, kedro)
    if not isinstance(name, str) or not re.fullmatch(_PROJECT_NAME, name):
        problems.append(
            f"pyproject.toml: tool.kedro.project_name is {name!r:.200}. It must start with a letter, and have only "
            "letters, digits, spaces, hyphens and underscores."
        )
    if "poetry" in content.get("tool", {}) and "project" not in content:
        problems.append(
            "pyproject.toml: the dependencies are in [tool.poetry.dependencies], which only Poetry reads. Move them to "
            "[project] first; Poetry 2 reads them there."
        )
    return problems
