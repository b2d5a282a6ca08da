"""The platform's folder of a project: what differs from the template's, put back or replaced as a whole."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..git import git
from ..render import files_of

PLATFORM = "src/vertexai_mlflow"
# Git leaves this folder out, and `make upgrade` keeps its clone of the template there.
PATCHES = ".vertexai"
# What Python, editors and operating systems leave behind. Hidden files are left out too.
_CACHES = "__pycache__"


def owned_files(record: dict[str, Any]) -> set[str]:
    """The files of the platform's folder that are the project's own now, and are merged like the others."""
    return {str(path) for path in record.get("owned", [])}


def platform_files(project: Path) -> set[str]:
    """The files of the platform's folder in a project, as paths below the project."""
    return {path for path in files_of(project, PLATFORM) if _is_code(path)}


def edited_files(project: Path, template: Path, paths: Iterable[str]) -> dict[str, str]:
    """The files that the project has changed.

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
        elif _lines(ours) != _lines(theirs):
            states[path] = "changed"
    return states


def write_patch(project: Path, template: Path, paths: Collection[str], name: str) -> str:
    """Keep what a project has changed as a patch, which ``git apply`` takes, and return its place in the project."""
    with tempfile.TemporaryDirectory() as folder:
        for side, source in (("a", template), ("b", project)):
            (Path(folder) / side).mkdir()
            for path in paths:
                if (source / path).is_file():
                    copy(source, Path(folder) / side, path)
        argv = ["git", "diff", "--no-index", "--no-prefix", "--binary", "a", "b"]
        patch = subprocess.run(argv, cwd=folder, capture_output=True).stdout
    file = project / PATCHES / f"{name}.patch"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(patch)
    return file.relative_to(project).as_posix()


def replace(project: Path, template: Path, owned: Collection[str]) -> str:
    """Make the platform's folder that of the template, except the files that the project owns, and stage it.

    Returns:
        The hash of its manifest, for the record.
    """
    for path in platform_files(project) - set(owned):
        (project / path).unlink()
    for path in platform_files(template) - set(owned):
        copy(template, project, path)
    remove_empty_folders(project / PLATFORM)
    git(project, "add", "--all", "--force", "--", *_paths_to_stage(project))
    return manifest_hash(project)


def remove_empty_folders(top: Path) -> None:
    """Remove the folders below one, and that one itself, in which there is nothing but what Python leaves behind."""
    folders = [path for path in top.rglob("*") if path.is_dir()] if top.is_dir() else []
    for folder in [*sorted(folders, reverse=True), *([top] if top.is_dir() else [])]:
        if folder.is_dir() and all(path.name == _CACHES for path in folder.iterdir()):
            shutil.rmtree(folder)


def manifest_hash(project: Path) -> str:
    """The hash of a project's manifest; empty if it has none."""
    manifest = project / PLATFORM / "MANIFEST.json"
    return sha256(_lines(manifest)).hexdigest() if manifest.is_file() else ""


def copy(source: Path, target: Path, path: str) -> None:
    """Copy a file to the same path below another folder."""
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / path, target / path)


def write_record(project: Path, record: dict[str, Any], file: str) -> None:
    """Write where the project comes from, and stage it."""
    (project / file).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    git(project, "add", file)


def _paths_to_stage(project: Path) -> Iterator[str]:
    tracked = git(project, "ls-files", "-z", "--", PLATFORM).split("\0")
    yield from sorted({*filter(None, tracked), *platform_files(project)})


def _is_code(path: str) -> bool:
    return not any(part == _CACHES or part.startswith(".") for part in Path(path).parts)


def _lines(file: Path) -> bytes:
    """The content of a file; Git may write other ends of lines on another machine."""
    return file.read_bytes().replace(b"\r\n", b"\n")
