"""The files of the project that ``.dockerignore`` lets into the image, by the rules of docker."""

from collections.abc import Iterable
from pathlib import Path, PurePath

from docker.utils.build import exclude_paths


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
