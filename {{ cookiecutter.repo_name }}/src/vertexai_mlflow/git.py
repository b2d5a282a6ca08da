"""What git knows about a project's folder."""

import subprocess
from collections.abc import Iterable
from pathlib import Path


def head(project: Path) -> str:
    """The commit that is checked out in a folder; empty if there is none."""
    return _git(project, "rev-parse", "HEAD")


def origin(project: Path) -> str:
    """The address that the project was cloned from, possibly with a password in it; empty if there is none."""
    return _git(project, "remote", "get-url", "origin")


def is_dirty(project: Path, names: Iterable[str]) -> bool:
    """Whether some of a project's files differ from the commit that is checked out, or are not in it."""
    tracked_files = _git(project, "ls-files", "-z").split("\0")
    changes = _git(project, "status", "--porcelain", "--untracked-files=no", ".")
    return bool(changes) or not set(tracked_files).issuperset(names)


def list_ignored(project: Path, folder: str) -> list[str]:
    """The files of a folder that git leaves out, because a line of some .gitignore says so."""
    listing = _git(project, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", folder)
    return listing.split("\0")


def _git(project: Path, *arguments: str) -> str:
    """What git prints; empty if it prints nothing, or is not installed."""
    try:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
