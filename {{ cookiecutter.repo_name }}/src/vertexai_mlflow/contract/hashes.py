"""Files → the SHA-256 by which a step tells that it got what was made, whoever may write to the bucket."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def files_at(place: Path) -> list[Path]:
    """The file, or all files of the folder, sorted; empty if there is nothing."""
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [path for path in paths if path.is_file()]


def sha256_of(place: Path) -> str:
    """The hash of a file; of a folder, the hash of its files' relative paths and hashes; empty if there is nothing."""
    if place.is_dir():
        return _of_lines(f"{sha256_of(path)}  {path.relative_to(place).as_posix()}" for path in files_at(place))
    if not place.exists():
        return ""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
