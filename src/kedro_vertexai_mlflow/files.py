"""The files of a project: the paths that all generated projects have in common, and functions that read files."""

from pathlib import Path

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


def read_text(file: Path) -> str:
    """Return the content of a text file; empty for anything else."""
    try:
        return file.read_bytes().decode() if file.is_file() else ""
    except UnicodeDecodeError:
        return ""
