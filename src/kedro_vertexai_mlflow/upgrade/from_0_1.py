"""A project of version 0.1, whose platform lies in the user's package → one with a folder ``src/vertexai_mlflow``."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..git import git
from ..render import files_of
from .platform import copy, edited_files, remove_empty_folders, write_patch

# Files in which names of modules stand as text.
_TEXTS = {".py", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".ipynb", ".md"}
_PROVIDERS = "auth"


@dataclass(frozen=True)
class Move:
    """What became of a project that was moved.

    Args:
        edits: file of the old platform that the user had changed → ``changed`` or ``new``.
        patch: the file that keeps these changes.
        rewritten: the user's files in which names of modules were replaced.
        own: settings.py and cli.py, where the user has changed them. They work as they are.
    """

    edits: dict[str, str]
    patch: str
    rewritten: list[str]
    own: list[str]


def is_needed(old: Path, package: str) -> bool:
    """Whether this is how version 0.1 of the template made a project."""
    return (old / "src" / package / "vertexai").is_dir()


def move(project: Path, old: Path, new: Path, package: str) -> Move:
    """Remove the old platform from a project, and from both versions of the template, and rename what refers to it.

    Args:
        project: the project's folder; what changes there is staged.
        old: the project as version 0.1 of the template made it.
        new: the project as the template makes it now.
        package: the project's package.
    """
    places = [f"src/{package}/vertexai", f"src/{package}/{_PROVIDERS}", "infra"]
    platform = {path for place in places for path in files_of(old, place)} | {f"src/{package}/errors.py"}
    states = edited_files(project, old, platform)
    edits = {path: state for path, state in states.items() if state != "missing"}
    patch = write_patch(project, old, edits, "platform-0.1.0") if edits else ""
    for path in platform:
        (old / path).unlink()
        (project / path).unlink(missing_ok=True)
    for place in places:
        remove_empty_folders(project / place)
    for path in files_of(new, f"src/{package}/{_PROVIDERS}"):
        copy(new, project, path)
        (new / path).unlink()
    rewritten = _rewrite(project, package)
    _rewrite(old, package, list(files_of(old)))
    own = []
    for path in (f"src/{package}/settings.py", f"src/{package}/cli.py"):
        if edited_files(project, old, [path]):
            own.append(path)
            for version in (old, new):
                (version / path).unlink()
    git(project, "add", "--all", "--", ".")
    return Move(edits, patch, rewritten, own)


def mentions(project: Path, package: str) -> list[str]:
    """The places in a project that still name something of the old platform, with their lines."""
    old = re.compile(
        rf"{package}/(?:vertexai|errors\.py|auth/(?:credentials|resolvers))|{_module(package)}"
        r"|(?<![\w/])infra/(?:bootstrap|compare|facts|gcloud|git_host|wanted|lifecycle|README)"
    )
    return [
        f"{path}:{number}: {line.strip()}"
        for path in _tracked(project)
        if not path.startswith("src/vertexai_mlflow/") and Path(path).name not in (".cruft.json", "CHANGELOG.md")
        for number, line in enumerate(_text(project / path).splitlines(), 1)
        if old.search(line)
    ]


def _rewrite(project: Path, package: str, paths: list[str] | None = None) -> list[str]:
    """Replace names of the old platform's modules in all files of a project; returns the files that have changed."""
    changed = []
    for path in paths if paths is not None else _tracked(project):
        before = _text(project / path) if Path(path).suffix in _TEXTS else ""
        after = re.sub(_module(package), _new_name, before)
        if path.startswith(f"src/{package}/") and path.endswith(".py"):
            dots = r"\." * (len(Path(path).parts) - 2)
            relative = (
                rf"(?<=from )(?P<package>{dots})(?P<name>vertexai|errors|auth\.(?:credentials|resolvers))(?=[ .])"
            )
            after = re.sub(relative, _new_name, after)
            after = re.sub(rf"(?<=from ){dots}auth(?= import resolvers$)", "vertexai_mlflow.auth", after, flags=re.M)
        if after != before:
            (project / path).write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _module(package: str) -> str:
    """The pattern of a module of the old platform, as imports and strings name it."""
    return rf"(?<![\w./-])(?P<package>{package}\.)(?P<name>vertexai|errors|auth\.(?:credentials|resolvers))\b(?![/(-])"


def _new_name(match: re.Match[str]) -> str:
    name = match["name"]
    return "vertexai_mlflow" if name == "vertexai" else f"vertexai_mlflow.{name}"


def _tracked(project: Path) -> list[str]:
    return [path for path in git(project, "ls-files", "-z").split("\0") if path and (project / path).is_file()]


def _text(file: Path) -> str:
    """The content of a text file; empty for any other."""
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        return ""
