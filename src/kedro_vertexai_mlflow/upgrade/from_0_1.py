"""Move a project of version 0.1: the platform leaves the user's package for the folder ``src/vertexai_mlflow``."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..files import PLATFORM, RECORD, read_files, read_text
from ..git import git, list_tracked_files
from .platform import compare_files, copy_file, remove_empty_folders, write_patch

# Files in which names of modules are written as text.
_TEXT_SUFFIXES = {".py", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".ipynb", ".md"}
_PROVIDERS = "auth"


@dataclass(frozen=True)
class Move:
    """What happened to a project that was moved.

    Args:
        package: the project's package.
        edits: file of the old platform that the user had changed → ``changed`` or ``new``.
        patch: the file that keeps these changes.
        rewritten_files: the user's files in which names of modules were replaced.
        kept_files: settings.py and cli.py, if the user has changed them. They still work.
    """

    package: str
    edits: dict[str, str]
    patch: str
    rewritten_files: list[str]
    kept_files: list[str]


def is_needed(old: Path, package: str) -> bool:
    """Whether version 0.1 of the template generated this."""
    return (old / "src" / package / "vertexai").is_dir()


def move(project: Path, old: Path, new: Path, package: str) -> Move:
    """Remove the old platform from a project, and from both versions of the template, and rename what refers to it.

    Args:
        project: the project's folder; what changes there is staged.
        old: the project as version 0.1 of the template made it.
        new: the project as the template makes it now.
        package: the project's package.
    """
    folders = [f"src/{package}/vertexai", f"src/{package}/{_PROVIDERS}", "infra"]
    platform = {path for folder in folders for path in read_files(old, folder)} | {f"src/{package}/errors.py"}
    states = compare_files(project, old, platform)
    edits = {path: state for path, state in states.items() if state != "missing"}
    patch = write_patch(project, old, edits, "platform-0.1.0") if edits else ""
    for path in platform:
        (old / path).unlink()
        (project / path).unlink(missing_ok=True)
    for folder in folders:
        remove_empty_folders(project / folder)
    for path in read_files(new, f"src/{package}/{_PROVIDERS}"):
        copy_file(new, project, path)
        (new / path).unlink()
    rewritten_files = _rewrite(project, package, list_tracked_files(project))
    _rewrite(old, package, list(read_files(old)))
    kept_files = []
    for path in (f"src/{package}/settings.py", f"src/{package}/cli.py"):
        if compare_files(project, old, [path]):
            kept_files.append(path)
            for version in (old, new):
                (version / path).unlink()
    git(project, "add", "--all", "--", ".")
    return Move(package, edits, patch, rewritten_files, kept_files)


def find_mentions(project: Path, package: str) -> list[str]:
    """Return the places in a project that still name something of the old platform, with their lines."""
    pattern = re.compile(
        rf"{package}/(?:vertexai|errors\.py|auth/(?:credentials|resolvers))|{_match_module(package)}"
        r"|(?<![\w/])infra/(?:bootstrap|compare|facts|gcloud|git_host|wanted|lifecycle|README)"
    )
    return [
        f"{path}:{number}: {line.strip()}"
        for path in list_tracked_files(project)
        if not path.startswith(f"{PLATFORM}/") and Path(path).name not in (RECORD, "CHANGELOG.md")
        for number, line in enumerate(read_text(project / path).splitlines(), 1)
        if pattern.search(line)
    ]


def _rewrite(project: Path, package: str, paths: list[str]) -> list[str]:
    """Replace names of the old platform's modules in files of a project; returns the files that have changed."""
    rewritten_files = []
    for path in paths:
        before = read_text(project / path) if Path(path).suffix in _TEXT_SUFFIXES else ""
        after = re.sub(_match_module(package), _new_name, before)
        if path.startswith(f"src/{package}/") and path.endswith(".py"):
            dots = r"\." * (len(Path(path).parts) - 2)
            relative = (
                rf"(?<=from )(?P<package>{dots})(?P<name>vertexai|errors|auth\.(?:credentials|resolvers))(?=[ .])"
            )
            after = re.sub(relative, _new_name, after)
            after = re.sub(rf"(?<=from ){dots}auth(?= import resolvers$)", "vertexai_mlflow.auth", after, flags=re.M)
        if after != before:
            (project / path).write_text(after, encoding="utf-8")
            rewritten_files.append(path)
    return rewritten_files


def _match_module(package: str) -> str:
    """Return the pattern of a module of the old platform, as imports and strings name it."""
    return rf"(?<![\w./-])(?P<package>{package}\.)(?P<name>vertexai|errors|auth\.(?:credentials|resolvers))\b(?![/(-])"


def _new_name(match: re.Match[str]) -> str:
    name = match["name"]
    return "vertexai_mlflow" if name == "vertexai" else f"vertexai_mlflow.{name}"
