"""Read the facts about the cloud in ``conf/<environment>/globals.yml``, and fill in those that have no value yet."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..whole_file import write_whole

_LINE = re.compile(r"^(\w+):[ ]*([\"']?)(.*?)\2([ ]+#.*)?[ ]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[^<>]*>")


def read(path: Path) -> dict[str, str]:
    """The facts by name. A placeholder counts as no value, so it becomes an empty string."""
    values = {name: value for name, _, value, _ in _LINE.findall(path.read_text(encoding="utf-8"))}
    return {name: "" if _PLACEHOLDER.search(value) else value for name, value in values.items()}


def find_missing(path: Path, facts: Mapping[str, str]) -> dict[str, str]:
    """The facts for which the file has no value."""
    existing = read(path)
    return {name: fact for name, fact in facts.items() if not existing.get(name)}


def fill_in(path: Path, facts: Mapping[str, str]) -> list[str]:
    """Fill in facts where the file has a placeholder or no value, and leave the rest of the file as it is.

    The file is written whole or not at all.

    Returns:
        The names of the facts that were filled in.
    """
    existing, missing = read(path), find_missing(path, facts)

    def replace(line: re.Match[str]) -> str:
        name, _, _, comment = line.groups()
        return f'{name}: "{missing[name]}"{comment or ""}' if name in missing else line[0]

    text = _LINE.sub(replace, path.read_text(encoding="utf-8"))
    text += "".join(f'{name}: "{fact}"\n' for name, fact in missing.items() if name not in existing)
    write_whole(path, text)
    return list(missing)
