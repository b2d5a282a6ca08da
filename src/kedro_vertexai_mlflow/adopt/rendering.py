"""Render the template for an existing project: its name and cloud facts go in, the template's files come out."""

import json
import re
import tempfile
import tomllib
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..errors import UserError
from ..files import read_files
from ..render import render
from .configuration import read_facts
from .project import Project


def choose_provider_package(project: Project) -> str:
    """Name the package for header providers: ``auth``, unless the user has something else of that name."""
    folder = project.folder / "src" / project.package
    is_users = (folder / "auth.py").exists() or ((folder / "auth").exists() and not (folder / "auth/gcp.py").exists())
    return "mlflow_auth" if is_users else "auth"


def find_oldest_python(specifier: str) -> str:
    """Return the oldest Python 3 that a specifier such as ``>=3.12,<3.14`` allows, ``3.12``; empty if none does."""
    allowed = SpecifierSet(specifier)
    minors = (minor for minor in range(100) if any(f"3.{minor}.{patch}" in allowed for patch in range(100)))
    return f"3.{oldest}" if (oldest := next(minors, None)) is not None else ""


def choose_python(project: Project, template: Path) -> str:
    """Choose the Python of locks, image and CI: the oldest one that both the project and the template support.

    Raises:
        UserError: when there is none.
    """
    known: list[str] = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["python_version"]
    specifier = str(tomllib.loads(project.read("pyproject.toml")).get("project", {}).get("requires-python", ""))
    try:
        oldest = find_oldest_python(specifier)
    except InvalidSpecifier:
        oldest = ""
    minor = int(oldest.partition(".")[2] or 100)
    if supported := [version for version in known if int(version.partition(".")[2]) >= minor]:
        return supported[0]
    raise UserError(
        f"pyproject.toml: requires-python {specifier} does not allow Python {', '.join(known[:-1])} or {known[-1]}, "
        f"which the template supports. Write it as >={known[0]}, for example."
    )


def render_files(project: Project, template: Path, ci: str, providers: str, python: str) -> dict[str, bytes]:
    """Return the template's files by path, as they are for this project.

    Args:
        project: the project.
        template: the folder of the template.
        ci: the CI files to render: ``github``, ``gitlab`` or ``none``.
        providers: the name of the package that the header providers are put into.
        python: the Python of locks, image and CI, ``3.12``.
    """
    answers = {"project_name": project.name, "python_package": project.package, "example": "no", "ci": ci}
    answers["python_version"] = python
    answers["repo_name"] = re.sub(r"[^a-z0-9]+", "-", project.folder.name.lower()).strip("-")
    for path in [*project.list_configuration("mlflow*"), *project.list_configuration("vertexai*")]:
        answers |= read_facts(project.read(path))
    with tempfile.TemporaryDirectory() as folder:
        files = read_files(render(template, answers, Path(folder)))
    old_folder, new_folder = (f"src/{project.package}/{name}/" for name in ("auth", providers))
    old_module, new_module = (f"{project.package}.{name}.".encode() for name in ("auth", providers))
    return {
        path.replace(old_folder, new_folder): content.replace(old_module, new_module)
        if path.startswith("conf/")
        else content
        for path, content in files.items()
    }
