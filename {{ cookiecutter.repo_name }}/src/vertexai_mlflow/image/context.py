"""What ``.dockerignore`` lets into the image, by the rules of docker."""

from collections.abc import Iterable
from pathlib import Path, PurePath

from docker.utils.build import exclude_paths


def let_in(project: Path, place: str = "", but: Iterable[str] = ()) -> set[str]:
    """The files that are in an image of a working tree, as paths below the project.

    Args:
        project: the project's folder.
        place: a file or folder, relative to it, to look at nothing else.
        but: patterns of more to leave out.
    """
    only = ["*", f"!{place}"] if place else []
    paths = exclude_paths(str(project), [*only, *_patterns(project), *but])
    found = {PurePath(path).as_posix() for path in paths}
    # The engine gets these two whatever the patterns say, but a build cannot copy them from there.
    found -= {"Dockerfile", ".dockerignore"}
    inside = (name for name in found if not place or f"{name}/".startswith(f"{place}/"))
    return {name for name in inside if (project / name).is_symlink() or not (project / name).is_dir()}


def doubtful_patterns(project: Path) -> list[str]:
    """The patterns that let in what ``let_in`` would miss, as it looks into no folder that only a wildcard names."""
    return [line for line in _patterns(project) if line.startswith("!") and "*" in line.rstrip("/").rpartition("/")[0]]


def _patterns(project: Path) -> list[str]:
    file = project / ".dockerignore"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    return [line for line in lines if line and not line.startswith("#")]
