"""The files of a project: the paths that all generated projects have in common, and functions that read files."""

from collections.abc import Iterable
from pathlib import Path

from .errors import UserError

# The folder of the platform, which is the template's.
PLATFORM = "src/vertexai_mlflow"
# Says which commit of which template the project was generated from, and with which answers.
RECORD = ".cruft.json"
# `make lock` resolves both.
LOCKS = ("requirements.lock", "requirements-launch.lock")


def read_files(project: Path, below: str = "") -> dict[str, bytes]:
    """Return the files of a project, or of one of its folders, by their paths in the project."""
    files = sorted(path for path in (project / below).rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def refuse_links_outside(project: Path, paths: Iterable[str]) -> None:
    """Refuse to write to paths of a project that a link leads out of it, to files of the user's.

    Raises:
        UserError: naming the first one.
    """
    top = project.resolve()
    for path in paths:
        target = (project / path).resolve()
        if not target.is_relative_to(top):
            raise UserError(
                f"{path} leads to {target}, outside of the project, where nothing is written. Put what it leads to in "
                "the place of the link, and commit that."
            )


def read_text(file: Path) -> str:
    """Return the content of a text file; empty for anything else."""
    try:
        return file.read_bytes().decode() if file.is_file() else ""
    except UnicodeDecodeError:
        return ""
