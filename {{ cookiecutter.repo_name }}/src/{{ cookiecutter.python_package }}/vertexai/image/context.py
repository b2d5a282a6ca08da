"""What ``.dockerignore`` lets into the image, by the rules of docker."""

from collections.abc import Iterable
from pathlib import Path

from docker.utils.build import exclude_paths


def let_in(project: Path, place: str = "", but: Iterable[str] = ()) -> set[str]:
    """The files that are in an image of a working tree, as paths below the project.

    Args:
        project: the project's folder.
        place: a file or folder, relative to it, to look at nothing else.
        but: patterns of more to leave out.
    """
    file = project / ".dockerignore"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    only = ["*", f"!{place}"] if place else []
    found = exclude_paths(str(project), [*only, *patterns, *but])
    # The engine gets these two whatever the patterns say, but a build cannot copy them from there.
    found -= {"Dockerfile", ".dockerignore"}
    inside = (name for name in found if not place or f"{name}/".startswith(f"{place}/"))
    return {name for name in inside if (project / name).is_symlink() or not (project / name).is_dir()}
