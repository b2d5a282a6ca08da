"""Resolve both locks of an adopted project, or find the lines of the user's that stand in the way."""

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from ..errors import UserError
from ..files import LOCKS
from .changes import find_line
from .dependency_files import read_requirement_files
from .makefile import OTHER_MAKEFILE
from .plan import Plan
from .project import Project
from .requirements import INSTALLED_TOGETHER

# The lock of a project that uv manages.
UV_LOCK = "uv.lock"


def resolve_locks(project: Project, plan: Plan, template: Path) -> str:
    """Resolve the dependencies with the template's `make lock`. No locks are better than wrong ones.

    In a project that uv manages, its uv.lock is brought up to date, and the template's locks are what it says.

    Args:
        project: the project as it is.
        plan: its locks are replaced, or removed.
        template: the folder of the template.

    Returns:
        What stands in the way, in sentences; empty if nothing does.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_bytes(plan.files["pyproject.toml"])
        shutil.copy(template / "{{ cookiecutter.repo_name }}" / "Makefile", folder)
        (Path(folder) / "Dockerfile").touch()  # other targets of the Makefile read it
        uv_lock = project.read(UV_LOCK)
        if uv_lock:
            (Path(folder) / UV_LOCK).write_text(uv_lock, encoding="utf-8")
        path = os.pathsep.join([str(Path(find_uv_bin()).parent), os.environ.get("PATH", "")])
        argv = ["make", "--silent", "lock"]
        try:
            process = subprocess.run(argv, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        except FileNotFoundError:
            raise UserError("make is not installed, and the project's commands need it. Install it.") from None
        for lock in LOCKS:
            if process.returncode == 0:
                plan.files[lock] = (Path(folder) / lock).read_bytes()
            else:
                plan.files.pop(lock, None)
        if uv_lock and process.returncode == 0:
            plan.files[UV_LOCK] = (Path(folder) / UV_LOCK).read_bytes()
    if process.returncode == 0:
        return ""
    theirs = "\n".join([project.read("pyproject.toml"), *read_requirement_files(project).values()])
    lines = find_conflicting_lines(plan.files["pyproject.toml"].decode(), process.stderr, theirs)
    makefile = OTHER_MAKEFILE if OTHER_MAKEFILE in plan.files or project.read(OTHER_MAKEFILE) else "Makefile"
    named = "\n  ".join(["\nYour lines that it names:", *lines]) if lines else ""
    return (
        "The locks could not be resolved, so `pip install -e '.[launch,dev]'` would fail as well:\n"
        f"{process.stderr.rstrip()}{named}\nFix pyproject.toml, and begin with: make -f {makefile} lock"
    )


def find_conflicting_lines(pyproject: str, message: str, theirs: str) -> list[str]:
    """Return the user's requirements that a message of uv's names, each with its place.

    Args:
        pyproject: the merged pyproject.toml.
        message: what uv has printed.
        theirs: the text of the user's own files with requirements.
    """
    project = tomllib.loads(pyproject)["project"]
    groups = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    names = set(map(canonicalize_name, re.findall(r"[A-Za-z][\w.-]*", message)))
    requirements = chain(*(groups.get(group, []) for group in INSTALLED_TOGETHER))
    return [
        f"pyproject.toml:{find_line(pyproject, requirement)}: {requirement}"
        for requirement in requirements
        if requirement in theirs and canonicalize_name(Requirement(requirement).name) in names
    ]
