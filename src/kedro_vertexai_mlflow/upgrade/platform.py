"""The platform's folder in a project: find what was changed there, keep it as a patch, and replace the folder."""

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..files import PLATFORM, read_files
from ..git import git, list_tracked_files

# Git ignores this folder, and `make upgrade` keeps its clone of the template there.
PATCHES = ".vertexai"
# Python leaves this behind. Hidden files are ignored too: editors and operating systems leave those behind.
_CACHES = "__pycache__"


def list_owned_files(record: dict[str, Any]) -> set[str]:
    """Return the files of the platform's folder that the project owns, and that are merged like all others."""
    return {str(path) for path in record.get("owned") or []}


def list_platform_files(project: Path) -> set[str]:
    """Return the files of the platform's folder in a project, as paths below the project."""
    return {path for path in read_files(project, PLATFORM) if _is_code(path)}


def list_folders(project: Path) -> list[str]:
    """Return the platform's folder in a project with all that is in it, links to folders as well."""
    top = project / PLATFORM
    return [path.relative_to(project).as_posix() for path in (top, *sorted(top.rglob("*")))]


def find_platform_edits(project: Path, template: Path, owned_files: Collection[str]) -> dict[str, str]:
    """Return what the project has changed in the platform's folder; see ``compare_files``."""
    paths = list_platform_files(project) | list_platform_files(template)
    return compare_files(project, template, paths.difference(owned_files))


def compare_files(project: Path, template: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the files that the project has changed.

    Args:
        project: the project's folder.
        template: the project as the template made it.
        paths: the files to compare.

    Returns:
        Path → ``changed``, ``missing`` or ``new``.
    """
    states = {}
    for path in sorted(set(paths)):
        ours, theirs = template / path, project / path
        if not theirs.is_file():
            states[path] = "missing"
        elif not ours.is_file():
            states[path] = "new"
        elif _read_lines(ours) != _read_lines(theirs):
            states[path] = "changed"
    return states


def write_patch(project: Path, template: Path, paths: Collection[str], name: str) -> str:
    """Write what a project has changed as a patch for ``git apply``, and return its path in the project."""
    with tempfile.TemporaryDirectory() as folder:
        for side, source in (("a", template), ("b", project)):
            (Path(folder) / side).mkdir()
            for path in paths:
                if (source / path).is_file():
                    copy_file(source, Path(folder) / side, path)
        argv = ["git", "diff", "--no-index", "--no-prefix", "--binary", "a", "b"]
        patch = subprocess.run(argv, cwd=folder, capture_output=True).stdout
    file = project / PATCHES / f"{name}.patch"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(patch)
    return file.relative_to(project).as_posix()


def replace_platform(project: Path, template: Path, owned_files: Collection[str]) -> None:
    """Replace the platform's folder with the template's, except the files that the project owns, and stage it."""
    for path in list_platform_files(project).difference(owned_files):
        (project / path).unlink()
    for path in list_platform_files(template).difference(owned_files):
        copy_file(template, project, path)
    remove_empty_folders(project / PLATFORM)
    paths = {*list_tracked_files(project, PLATFORM), *list_platform_files(project)}
    git(project, "add", "--all", "--force", "--", *sorted(paths))


def remove_empty_folders(top: Path) -> None:
    """Remove a folder and those below it, as far as there is nothing in them but what Python leaves behind."""
    folders = [path for path in top.rglob("*") if path.is_dir()] if top.is_dir() else []
    for folder in [*sorted(folders, reverse=True), *([top] if top.is_dir() else [])]:
        if folder.is_dir() and all(path.name == _CACHES for path in folder.iterdir()):
            shutil.rmtree(folder)


def hash_manifest(project: Path) -> str:
    """Return the hash of a project's manifest; empty if it has none."""
    manifest = project / PLATFORM / "MANIFEST.json"
    return sha256(_read_lines(manifest)).hexdigest() if manifest.is_file() else ""


def copy_file(source: Path, target: Path, path: str) -> None:
    """Copy a file to the same path below another folder."""
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / path, target / path)


def _is_code(path: str) -> bool:
    return not any(part == _CACHES or part.startswith(".") for part in Path(path).parts)


def _read_lines(file: Path) -> bytes:
    """Return the content of a file with the same line ends everywhere; Git may write others on another machine."""
    return file.read_bytes().replace(b"\r\n", b"\n")
