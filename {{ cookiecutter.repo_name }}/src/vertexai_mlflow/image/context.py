"""The files of the project that ``.dockerignore`` lets into the image, by the rules of docker."""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

import yaml
from docker.utils.build import exclude_paths

from ..errors import UserError

# The only file with credentials that may be in an image.
_NAMES_SECRETS = "credentials_secrets.yml"
_NO_SECRET = re.compile(r"\$\{gcp\.(secret|id_token|access_token):[^{}$]*\}")


def files_in_image(project: Path, place: str = "", leave_out: Iterable[str] = ()) -> set[str]:
    """List the files of a working tree that its image has, as paths below the project.

    Args:
        project: the project's folder.
        place: a file or folder below it; if given, nothing else is listed.
        leave_out: patterns of more files to leave out.
    """
    only = ["*", f"!{place}"] if place else []
    paths = exclude_paths(str(project), [*only, *_patterns(project), *leave_out])
    # The engine gets these two files whatever the patterns say, but a build cannot copy them from there.
    names = {PurePath(path).as_posix() for path in paths} - {"Dockerfile", ".dockerignore"}
    names = {name for name in names if not place or f"{name}/".startswith(f"{place}/")}
    return {name for name in names if (project / name).is_symlink() or not (project / name).is_dir()}


def credentials_in_image(project: Path, names: Iterable[str]) -> set[str]:
    """Those of the image's files that only name secrets, ``${gcp.secret:…}``, which a step asks for.

    Args:
        project: the project's folder.
        names: the files, as paths below it.

    Raises:
        UserError: when one of them has anything else in it. A message never quotes it.
    """
    files = {name for name in names if fnmatch(name, f"*/{_NAMES_SECRETS}")}
    for name in sorted(files):
        try:
            content = yaml.safe_load((project / name).read_text(encoding="utf-8"))
        except (yaml.YAMLError, OSError, UnicodeDecodeError):
            raise UserError(f"{name} cannot be read as YAML, and would be in the image.") from None
        if plain := [key for key, value in _leaves(content) if not _NO_SECRET.fullmatch(str(value))]:
            raise UserError(
                f"{name}: {', '.join(plain)}: this file is in the image, so each value must be ${{gcp.secret:NAME}}, "
                "${gcp.id_token:AUDIENCE} or ${gcp.access_token:}. Keep others in conf/local/credentials.yml."
            )
    return files


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values that are neither mappings nor lists, each with its key."""
    if isinstance(content, dict | list) and content:
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in items:
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif content is not None or key:
        yield key, content


def links_out_of_image(project: Path, files: Iterable[Path]) -> list[str]:
    """The links on the way to these files that lead nowhere in a container: a build copies the link, not its target."""
    links: dict[str, None] = {}
    for file in files:
        for path in (file, *file.parents):
            if path == project or not path.is_relative_to(project):
                break
            target = path.parent / path.readlink() if path.is_symlink() else path
            if path.is_symlink() and (path.readlink().is_absolute() or not _is_below(target, project)):
                links[path.relative_to(project).as_posix()] = None
    return list(links)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def doubtful_patterns(project: Path) -> list[str]:
    """The patterns for files that ``files_in_image`` misses, as it searches no folder that only a wildcard names."""
    return [line for line in _patterns(project) if line.startswith("!") and "*" in line.rstrip("/").rpartition("/")[0]]


def _patterns(project: Path) -> list[str]:
    file = project / ".dockerignore"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    return [line for line in lines if line and not line.startswith("#")]
