"""What git knows about a project's folder."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit


def head(project: Path) -> str:
    """The commit that is checked out in a folder; empty if there is none."""
    return _git(project, "rev-parse", "HEAD")


def origin(project: Path) -> str:
    """The address that the project was cloned from, possibly with a password in it; empty if there is none."""
    return _git(project, "remote", "get-url", "origin")


def repository(project: Path) -> str:
    """The page of the project's repository, made of the address that it was cloned from; empty if that has no page."""
    address = origin(project)
    if match := re.fullmatch(r"(?:ssh://)?[^@/]+@([^:/]+)(?::\d+/|[:/])(.+)", address):
        address = f"https://{match[1]}/{match[2]}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/').removesuffix('.git')}"


def place(project: Path) -> tuple[Path, str]:
    """The top of the repository that a folder is in, and the folder's path below that, empty for the top."""
    top, _, prefix = _git(project, "rev-parse", "--show-toplevel", "--show-prefix").partition("\n")
    return Path(top), prefix.rstrip("/")


def is_dirty(project: Path, names: Iterable[str]) -> bool:
    """Whether some of a project's files differ from the commit that is checked out, or are not in it."""
    # A new index knows nothing of `update-index --assume-unchanged` and `--skip-worktree`, so the files are compared.
    with TemporaryDirectory() as folder:
        variables = {"GIT_INDEX_FILE": str(Path(folder) / "index"), "GIT_NO_REPLACE_OBJECTS": "1"}
        _git(project, "read-tree", "HEAD", **variables)
        tracked_files = _git(project, "ls-files", "-z", **variables).split("\0")
        no_monitor = ("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")
        changes = _git(project, *no_monitor, "status", "--porcelain", "--untracked-files=no", ".", **variables)
    return bool(changes) or not set(tracked_files).issuperset(names)


def list_ignored(project: Path, folder: str) -> list[str]:
    """The files of a folder that git leaves out, because a line of some .gitignore says so."""
    listing = _git(project, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", folder)
    return listing.split("\0")


def _git(project: Path, *arguments: str, **variables: str) -> str:
    """What git prints, with these environment variables; empty if it prints nothing, or is not installed."""
    command, environment = ["git", *arguments], {**os.environ, **variables}
    try:
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
