"""Render the template for an existing project: its name and cloud facts go in, the template's files come out."""

import re
import tempfile
from pathlib import Path

from ..files import read_files
from ..render import render
from .configuration import read_facts
from .project import Project


def choose_provider_package(project: Project) -> str:
    """Name the package for header providers: ``auth``, unless the user has something else of that name."""
    folder = project.folder / "src" / project.package
    is_users = (folder / "auth.py").exists() or ((folder / "auth").exists() and not (folder / "auth/gcp.py").exists())
    return "mlflow_auth" if is_users else "auth"


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
