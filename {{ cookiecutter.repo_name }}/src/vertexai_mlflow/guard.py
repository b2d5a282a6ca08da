"""Refuses to run with the platform's code of another project. Each step imports this, so it needs next to nothing."""

from pathlib import Path

from .errors import UserError

FOLDER = Path(__file__).resolve().parent
# What this folder had in it when the template wrote it, see `seal.py`.
MANIFEST = "MANIFEST.json"


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
