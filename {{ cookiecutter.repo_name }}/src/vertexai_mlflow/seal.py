"""Whether this folder is as the template made it: ``python -m vertexai_mlflow.seal`` names each file that is not.

``MANIFEST.json`` has the version and the SHA-256 of each file. That is no protection, because whoever changes a
file can change the manifest as well: ``vertexai-upgrade --verify`` compares the folder with the template itself.
"""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from . import __version__
from .git import list_ignored
from .guard import FOLDER, MANIFEST

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
    sealed = _sealed_files(folder)
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
    manifest_hash = sha256(manifest.read_bytes())
    if record.get("manifest", manifest_hash) != manifest_hash:
        sentences.append(f"{place}/{MANIFEST} is not the one that the template wrote, by the hash in {RECORD}.")
    if states := differences(FOLDER, owned_in(record, place)):
        files = ", ".join(f"{place}/{name} ({state})" for name, state in states.items())
        sentences.append(f"Not as the template made it: {files}.")
    if sentences:
        sentences.append(WAYS_OUT)
    ignored_files = set(list_ignored(project, place))
    if lacking := [path for name in _sealed_files(FOLDER) if (path := f"{place}/{name}") in ignored_files]:
        sentences.append(
            f"Git ignores {', '.join(lacking)}, so another clone will lack it. Add to .gitignore: !/{place}/**"
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


def _sealed_files(folder: Path) -> dict[str, str]:
    """Each file that the manifest names → its SHA-256."""
    files: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    return files


if __name__ == "__main__":
    print("\n".join(problems(Path.cwd())) or f"{FOLDER.name} {__version__} is as the template made it.")
