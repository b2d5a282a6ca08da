"""Whether this folder is as the template made it: ``python -m vertexai_mlflow.seal`` names each file that is not.

``MANIFEST.json`` has the version and the SHA-256 of each file. That is no protection, because whoever changes a
file can change the manifest as well: ``vertexai-upgrade --verify`` compares the folder with the template itself.
"""

import hashlib
import json
import subprocess
from collections.abc import Collection
from pathlib import Path

from . import __version__
from .errors import UserError

FOLDER = Path(__file__).resolve().parent
MANIFEST = "MANIFEST.json"
# Says where a project comes from; `owned` has the files of this folder that the project has taken over.
RECORD = ".cruft.json"
WAYS_OUT = (
    "Put it back with: make upgrade ARGS=--restore. Or do what you need by an extension point, see "
    "src/vertexai_mlflow/README.md. Or own it: add its path to the list `owned` in .cruft.json, and `make upgrade` "
    "merges it."
)


def sha256(content: bytes) -> str:
    """The hash of a text file, in hexadecimal. Git may write other ends of lines on another machine."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, without the manifest, caches and hidden files."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): sha256(path.read_bytes())
        for name, path in files.items()
        if name.as_posix() != MANIFEST and not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }


def write_manifest(folder: Path) -> str:
    """Seal a folder as it is.

    Returns:
        The hash of the manifest, for the project's record.
    """
    manifest = {"version": __version__, "files": hashes(folder)}
    content = (json.dumps(manifest, indent=2) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    return sha256(content)


def differences(folder: Path, owned: Collection[str] = ()) -> dict[str, str]:
    """The files that are not as the manifest has them.

    Args:
        folder: the platform's folder in a project.
        owned: files that the project has taken over, relative to the folder.

    Returns:
        File, relative to the folder → ``changed``, ``missing`` or ``new``.
    """
    sealed: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    present = hashes(folder)
    states = {name: "missing" for name in sealed if name not in present}
    states |= {name: "new" for name in present if name not in sealed}
    states |= {name: "changed" for name in sealed if present.get(name, sealed[name]) != sealed[name]}
    return {name: state for name, state in sorted(states.items()) if name not in owned}


def problems(project: Path) -> list[str]:
    """What is to be said about the platform's folder of a project, a sentence each.

    Args:
        project: the project's folder. Of a platform that is imported from elsewhere, a wheel say, nothing is said.
    """
    if not FOLDER.is_relative_to(project.resolve()):
        return []
    place = FOLDER.relative_to(project.resolve()).as_posix()
    manifest, record = FOLDER / MANIFEST, read_record(project)
    if not manifest.is_file():
        return [f"{place}/{MANIFEST} is missing, so nobody can tell whether the folder was changed. {WAYS_OUT}"]
    sentences = []
    if record.get("manifest", sha256(manifest.read_bytes())) != sha256(manifest.read_bytes()):
        sentences.append(f"{place}/{MANIFEST} is not the one that the template wrote, by the hash in {RECORD}.")
    if states := differences(FOLDER, owned_in(record, place)):
        files = ", ".join(f"{place}/{name} ({state})" for name, state in states.items())
        sentences.append(f"Not as the template made it: {files}.")
    if sentences:
        sentences.append(WAYS_OUT)
    if ignored := _ignored(project, place):
        sentences.append(
            f"Git ignores {', '.join(ignored)}, so another clone will lack it. Add to .gitignore: !/{place}/**"
        )
    return sentences


def read_record(project: Path) -> dict[str, object]:
    """What ``.cruft.json`` says; empty if there is none that can be read."""
    try:
        record: dict[str, object] = json.loads((project / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def owned_in(record: dict[str, object], place: str) -> set[str]:
    """The files of the platform's folder that a record's ``owned`` names, relative to that folder."""
    owned = record.get("owned")
    return {str(path).removeprefix(f"{place}/") for path in owned} if isinstance(owned, list) else set()


def refuse_the_copy_of_another_project(source: Path) -> None:
    """Refuse to work on a project with the platform's code of another one, which may be of another version.

    Args:
        source: the project's folder ``src``.

    Raises:
        UserError: when the project has a copy of its own, and that is another one than what was imported.
    """
    copy = source / FOLDER.name
    if not copy.is_dir() or copy.resolve() == FOLDER:
        return
    manifests = [path.read_bytes() if path.is_file() else b"" for path in (copy / MANIFEST, FOLDER / MANIFEST)]
    if manifests[0] != manifests[1]:
        raise UserError(
            f"{FOLDER.name} was imported from {FOLDER}, and not from this project's {copy}. Two projects are installed "
            "in one environment. Give each an environment of its own, and install this project there: pip install -e ."
        )


def _ignored(project: Path, place: str) -> list[str]:
    """The files of the folder that Git leaves out, because a line of some .gitignore says so."""
    command = ["git", "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", place]
    try:
        listing = subprocess.run(command, cwd=project, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return []
    sealed = json.loads((FOLDER / MANIFEST).read_text(encoding="utf-8"))["files"]
    return [path for path in listing.split("\0") if path.removeprefix(f"{place}/") in sealed]


if __name__ == "__main__":
    print("\n".join(problems(Path.cwd())) or f"{FOLDER.name} {__version__} is as the template made it.")
