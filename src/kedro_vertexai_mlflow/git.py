"""Run Git as a program, and report to the user what it refuses."""

import os
import subprocess
from pathlib import Path

from .errors import UserError

# Nothing here needs a program that the configuration of a repository names, and somebody else may have written it.
_RUN_NOTHING = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Git in a folder and return what it prints.

    Raises:
        UserError: with Git's own message when it fails.
    """
    process = run_git(folder, *arguments, **environment)
    if process.returncode:
        raise UserError(f"git {' '.join(arguments[:2])}: {process.stderr.strip() or process.stdout.strip()}")
    return process.stdout.strip()


def run_git(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Git in a folder, whatever its exit code."""
    variables = {**os.environ, "LC_ALL": "C", **environment}
    try:
        return subprocess.run(
            ["git", *_RUN_NOTHING, *arguments], cwd=folder, capture_output=True, text=True, env=variables
        )
    except OSError as error:
        raise UserError(f"git could not be started: {error.strerror}. Install Git.") from None


def list_tracked_files(folder: Path, *below: str) -> list[str]:
    """Return the paths that Git tracks in a folder, or in some paths below it."""
    return list(filter(None, git(folder, "ls-files", "-z", "--", *below).split("\0")))


def check_work_tree(folder: Path) -> list[str]:
    """Return why Git could not show and undo changes in a folder; empty if it can."""
    if run_git(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        return [
            f"{folder} is not in a Git repository. Git shows you the changes and can undo them: git init, git add -A, "
            "git commit -m 'Before'."
        ]
    if run_git(folder, "rev-parse", "--verify", "HEAD").returncode:
        return [f"{folder} has no commit yet to go back to: git add -A, git commit -m 'Before'."]
    if changes := git(folder, "status", "--porcelain"):
        paths = ", ".join(line.split(maxsplit=1)[1] for line in changes.splitlines()[:5])
        return [f"There are uncommitted changes ({paths} …). Commit or stash them: git stash -u."]
    return []
