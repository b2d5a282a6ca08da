"""What ``.dockerignore`` lets into the image, by the rules of docker."""

from collections.abc import Iterable
from pathlib import Path

from docker.utils.build import exclude_paths


def let_in(project: Path, places: Iterable[str], but: Iterable[str] = ()) -> set[str]:
    """The files at some places that are in an image of a working tree.

    Args:
        project: the project's folder.
        places: files and folders, relative to it.
        but: patterns of more to leave out.
    """
    file = project / ".dockerignore"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    found = exclude_paths(str(project), ["*", *(f"!{place}" for place in places), *patterns, *but])
    inside = (name for name in found if any(f"{name}/".startswith(f"{place}/") for place in places))
    return {name for name in inside if (project / name).is_symlink() or not (project / name).is_dir()}
