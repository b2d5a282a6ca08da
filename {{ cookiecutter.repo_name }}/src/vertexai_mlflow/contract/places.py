"""Places on local disk: the files that a path of the catalog refers to, and their SHA-256.

A place is a file, a folder, or a pattern such as ``data/sales/*.csv``, which refers to all files that match. Links are
followed, because data may be on another disk. Whatever asks for the files of a place asks here: the steps that carry
them, doctor, ``upload-data``, and the cache.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from glob import escape, glob, has_magic
from itertools import takewhile
from pathlib import Path, PurePosixPath

# Vertex AI mounts Cloud Storage there: https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
MOUNT = "/gcs/"
# What MLflow's addresses of models begin with. Any other could lead to somebody else's server.
MODEL_SCHEMES = ("models:/", "runs:/")

# MLflow writes this file into the folder of a registered model when it is downloaded.
REGISTERED_MODEL_META = "registered_model_meta"

_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/")


def is_local(place: str) -> bool:
    """Whether a path or URI is on the disk of whoever reads it: ``data/x.csv``, ``file:///x``, but not ``gs://…``."""
    return not _REMOTE.match(place)


def is_below(uri: str, root: str) -> bool:
    """Whether a URI is below another one, and does not lead out of it again."""
    return uri.startswith(f"{root.rstrip('/')}/") and ".." not in uri.split("/")


def base_of(place: str | Path) -> Path:
    """The folder that everything of a pattern is in; any other place itself. Files are named relative to it."""
    parts = Path(place).parts
    for index, part in enumerate(parts):
        # There may be a file or folder of exactly that name.
        if has_magic(part) and not os.path.lexists(Path(*parts[: index + 1])):
            return Path(*parts[:index])
    return Path(place)


def literal_part(place: str) -> PurePosixPath:
    """The beginning of a place that has no wildcard; without a look at the disk."""
    return PurePosixPath(*takewhile(lambda part: not has_magic(part), PurePosixPath(place).parts))


def files_at(place: str | Path) -> list[Path]:
    """The file, all files of the folder, or all that match the pattern, sorted; empty if there is nothing."""
    place, base = Path(place), base_of(place)
    paths = [place]
    if place != base:  # Path.glob would follow no links to folders
        pattern = Path(escape(str(base)), place.relative_to(base))
        paths = [Path(name) for name in glob(str(pattern), recursive=True)]  # noqa: PTH207
    return sorted({file for path in paths for file in files_below(path)})


def files_below(
    path: Path, enters: Callable[[Path], bool] = lambda _folder: True, around: tuple[str, ...] = ()
) -> Iterator[Path]:
    """The file, or the files of a folder and of the folders in it; a link to a folder around it is not followed.

    Args:
        path: the file or folder.
        enters: whether the files of a folder in it count.
        around: the real paths of the folders that it is in.
    """
    if path.is_file():
        yield path
    elif path.is_dir() and (real := os.path.realpath(path)) not in around:
        for child in path.iterdir():
            if not child.is_dir() or enters(child):
                yield from files_below(child, enters, (*around, real))


def overlap(first: str, second: str) -> bool:
    """Whether two places may have files in common: they are equal, one is around the other, or a pattern matches."""
    for part, other_part in zip(PurePosixPath(first).parts, PurePosixPath(second).parts, strict=False):
        if "**" in (part, other_part):
            return True
        are_patterns = has_magic(part) and has_magic(other_part)
        if not (are_patterns or part == other_part or fnmatchcase(part, other_part) or fnmatchcase(other_part, part)):
            return False
    return True


def sha256_of(place: str | Path, leave_out: str = "") -> str:
    """The hash of a file; of several, the hash of their relative paths and hashes; empty if there is nothing.

    Args:
        place: the file, folder or pattern.
        leave_out: name of a file in the folder that does not count.
    """
    files = [file for file in files_at(place) if not leave_out or file != Path(place) / leave_out]
    if files == [Path(place)]:
        with files[0].open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    base = base_of(place)
    is_there = base.is_dir() if base == Path(place) else bool(files)
    return _of_lines(f"{sha256_of(path)}  {path.relative_to(base).as_posix()}" for path in files) if is_there else ""


def sha256_of_model(folder: str | Path) -> str:
    """The hash of a model's folder, which is the same when it is registered."""
    return sha256_of(folder, leave_out=REGISTERED_MODEL_META)


def sha256_of_all(places: Iterable[str]) -> str:
    """The hash of the one place; of several, the hash of their hashes."""
    hashes = [sha256_of(Path(place).expanduser()) for place in places]
    return hashes[0] if len(hashes) == 1 else _of_lines(hashes)


def mismatch(what: str, actual: str, recorded: str | None) -> str:
    """The message about something whose hash is not the one in its artifact's metadata."""
    return (
        f"{what} does not match its recorded SHA-256 (expected {recorded or 'none'}, found {actual}). It may have been "
        "replaced. If an older version of this project wrote it, run its step again without caching."
    )


def _of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")).hexdigest()
