"""Git, called as a program: what a command asks of it and how its refusals reach the user."""

import os
import subprocess
from pathlib import Path

from .errors import UserError


def git(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Run Git in a folder and return what it prints.

    Raises:
        UserError: with what Git says when it refuses.
    """
    done = run_git(folder, *arguments, stdin=stdin, **environment)
    if done.returncode:
        raise UserError(f"git {' '.join(arguments[:2])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def run_git(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Git in a folder, whatever its exit code."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, input=stdin, capture_output=True, text=True,
            env={**os.environ, "LC_ALL": "C", **environment},
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"git could not be started: {error.strerror}. Install Git.") from None


def problems_of_the_work_tree(folder: Path) -> list[str]:
    """Say why changes in a folder could not be shown and undone by Git; empty if they can."""
    if run_git(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        return [
            f"{folder} is in no Git repository. Git shows you the changes and can undo them: git init, git add -A, "
            "git commit -m 'Before'."
        ]
    if run_git(folder, "rev-parse", "--verify", "HEAD").returncode:
        return [f"{folder} has no commit yet that could be gone back to: git add -A, git commit -m 'Before'."]
    if changed := git(folder, "status", "--porcelain"):
        some = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines()[:5])
        return [f"There are changes that are not committed ({some} …). Commit or stash them: git stash -u."]
    return []
