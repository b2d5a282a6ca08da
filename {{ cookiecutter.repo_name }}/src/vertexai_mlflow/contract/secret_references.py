"""How files name secrets, ``${gcp.secret:NAME}`` or ``${gcp.secret:NAME,VERSION}``, and what a spec has instead."""

import re
from collections.abc import Iterable
from pathlib import Path

RESOLVER = "gcp.secret"
LATEST = "latest"

_NAME = r"[\w./:-]+"
_WRITTEN = re.compile(rf"\$\{{gcp\.secret:\s*[\"']?({_NAME})[\"']?\s*(?:,\s*[\"']?([\w-]+)[\"']?\s*)?\}}")
_REFERENCE = re.compile(rf"gcp\.secret:({_NAME}),([\w-]+)")
_SUFFIXES = (".yml", ".yaml", ".json")


def reference(name: str, version: str | int = LATEST) -> str:
    """What stands in place of a secret until a step asks for it."""
    return f"{RESOLVER}:{name},{version}"


def parse_reference(text: str) -> tuple[str, str] | None:
    """Name and version in a reference; None if the text is something else."""
    match = _REFERENCE.fullmatch(text)
    return (match[1], match[2]) if match else None


def secrets_in(folders: Iterable[Path]) -> list[tuple[str, str]]:
    """The secrets, with their versions, that the configuration in some folders names; comments do not count."""
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix in _SUFFIXES}
    lines = [line for path in files for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    written = [match for line in lines if not line.lstrip().startswith("#") for match in _WRITTEN.findall(line)]
    return sorted({(name, version or LATEST) for name, version in written})
