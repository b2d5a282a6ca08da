"""The code of a working tree on its way to a step: the launcher packs it, and the container unpacks and starts it.

``python -m vertexai_mlflow.contract.uploaded URI …`` stands in the place of the step's own module, and ``…`` are the
step's arguments. The image gives everything that is not in the archive: its packages, its data, and this module.
"""

import gzip
import hashlib
import os
import sys
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

import fsspec

from ..errors import UserError
from .names import STEP_MODULE

# What is never packed, whatever .dockerignore lets into an image. They are patterns as in .dockerignore. Steps use the
# data of the image.
LEFT_OUT = (
    "data", "**/*credentials*.y*ml", "**/*credentials*.json", ".*", "**/__pycache__", "**/.DS_Store", "**/.#*",
)  # fmt: skip
# The image has what this file pins. Its hash is packed, because the file itself would be most of the archive.
_LOCK, _LOCK_HASH = "requirements.lock", "requirements.lock.sha256"
# Bytes that are packed at most, and bytes that are fetched and unpacked at most, with the headers of a tar archive.
# Code is far smaller, and both sides have it in memory.
_MOST = 50 * 2**20
_MOST_UNPACKED = 2 * _MOST


@dataclass(frozen=True)
class Code:
    """The code of a working tree.

    Args:
        archive: a tar archive, compressed by gzip. The same files make the same bytes, in any order and at any time.
        uri: where steps fetch it from. The name of the file is the SHA-256 of the archive.
        commit: the commit that was checked out; empty if there was none.
        is_dirty: whether the files differ from it.
    """

    archive: bytes
    uri: str
    commit: str
    is_dirty: bool

    @property
    def sha256(self) -> str:
        """The hash of the archive, in hexadecimal."""
        return _hash_in(self.uri)


def pack(project: Path, names: Iterable[str], root: str, commit: str, is_dirty: bool) -> Code:
    """Pack files of a project.

    Args:
        project: its folder.
        names: the files, relative to it.
        root: pipeline root, below which the archive is to be kept.
        commit, is_dirty: see ``Code``.

    Raises:
        UserError: when there is no code among the files, or symbolic links, or too many bytes.
    """
    names = sorted(name for name in names if name != _LOCK)
    if not any(name.startswith("src/") for name in names):
        raise UserError(
            "--upload-code: .dockerignore lets no file of src into an image, so there is no code to upload."
        )
    if links := [name for name in names if (project / name).is_symlink()]:
        raise UserError(
            f"--upload-code takes no symbolic links: {', '.join(links)}. Replace each by a copy of its target, or "
            "build an image."
        )
    sizes = sorted(((project / name).stat().st_size, name) for name in names)
    if (size := sum(size for size, _name in sizes)) > _MOST:
        largest = ", ".join(f"{name} ({size / 2**20:.1f} MiB)" for size, name in reversed(sizes[-3:]))
        raise UserError(
            f"--upload-code takes {_MOST // 2**20} MiB of code, and this is {size / 2**20:.0f} MiB. The largest files: "
            f"{largest}. Move what is no code below data/, which is the image's, or build an image."
        )
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            path = project / name
            _add(tar, name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
        _add(tar, _LOCK_HASH, _lock_of(project).encode(), 0o644)
    archive = BytesIO()
    with gzip.GzipFile(filename="", fileobj=archive, mode="wb", mtime=0) as file:
        file.write(content.getvalue())
    data = archive.getvalue()
    return Code(data, f"{root.rstrip('/')}/code/{hashlib.sha256(data).hexdigest()}.tar.gz", commit, is_dirty)


def main(argv: Sequence[str]) -> None:
    """Become the step whose arguments these are, by the code that the first one of them names."""
    uri, *arguments = argv
    image, folder = Path.cwd(), Path(mkdtemp(prefix="code-"))
    unpack(download_archive(uri), folder, uri)
    if (folder / _LOCK_HASH).read_text() != _lock_of(image):
        raise SystemExit(
            f"This image was not built from the {_LOCK} that belongs to the uploaded code. Build an image of this "
            "code, and launch that: kedro vertexai -e <environment> push"
        )
    for path in image.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    # Kedro needs the folder of its default environment, even if it is empty.
    (folder / "conf/local").mkdir(parents=True, exist_ok=True)
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place != str(image / "src")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "src"), *filter(None, others)])
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", STEP_MODULE, *arguments])


def unpack(archive: bytes, folder: Path, uri: str) -> None:
    """Write the files of an archive, and nothing outside of the folder, whoever has made the archive.

    Args:
        archive: see ``Code``.
        folder: an empty folder.
        uri: where the archive was, for the message.

    Raises:
        SystemExit: when it is not what ``pack`` makes.
    """
    try:
        with gzip.open(BytesIO(archive)) as file:
            content = file.read(_MOST_UNPACKED + 1)
        if len(content) > _MOST_UNPACKED:
            raise ValueError(f"it has more than {_MOST_UNPACKED // 2**20} MiB")
        with tarfile.open(fileobj=BytesIO(content), mode="r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts:
                    raise ValueError(f"{member.name!r} is not a plain file below the project")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("xb") as target, tar.extractfile(member) as source:  # type: ignore[union-attr]
                    target.write(source.read())
                (folder / name).chmod(0o755 if member.mode & 0o100 else 0o644)
    except (ValueError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise SystemExit(f"{uri} is not an archive of code that can be unpacked: {error}") from None


def download_archive(uri: str) -> bytes:
    """Read an archive of uploaded code, whose name begins with its SHA-256.

    Raises:
        SystemExit: when it cannot be read, or has another hash.
    """
    try:
        with fsspec.open(uri, "rb") as file:
            archive: bytes = file.read(_MOST_UNPACKED + 1)
    except Exception as error:  # the libraries for buckets have no base class for theirs
        raise SystemExit(
            f"The uploaded code {uri} cannot be read ({type(error).__name__}: {error}). If it is gone, launch again. "
            "If this account may not read it, grant it roles/storage.objectUser on the bucket."
        ) from None
    sha256 = hashlib.sha256(archive).hexdigest()
    if sha256 == _hash_in(uri):
        return archive
    is_too_large = len(archive) > _MOST_UNPACKED
    reason = f"it has more than {_MOST_UNPACKED // 2**20} MiB" if is_too_large else f"its SHA-256 is {sha256}"
    raise SystemExit(f"{uri} is not what was uploaded: {reason}. Delete it, and launch again.")


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    about = tarfile.TarInfo(name)  # It has neither a time nor an owner.
    about.size, about.mode = len(content), mode
    tar.addfile(about, BytesIO(content))


def _lock_of(folder: Path) -> str:
    """The hash of what is pinned there; empty if nothing is."""
    file = folder / _LOCK
    # It is read as text, because Git on Windows may have changed the line ends.
    return hashlib.sha256(file.read_text(encoding="utf-8").encode()).hexdigest() if file.is_file() else ""


def _hash_in(uri: str) -> str:
    return uri.rpartition("/")[2].partition(".")[0]


if __name__ == "__main__":
    main(sys.argv[1:])
