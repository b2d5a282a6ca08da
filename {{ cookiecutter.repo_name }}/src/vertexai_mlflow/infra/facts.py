"""Read the facts about the cloud in ``conf/<environment>/globals.yml``, and fill in those that have no value yet."""

import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"^(\w+):[ ]*([\"']?)(.*?)\2([ ]+#.*)?[ ]*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[^<>]*>")


def read(path: Path) -> dict[str, str]:
    """Name → value. A placeholder counts as no value, so it becomes an empty string."""
    found = {name: value for name, _, value, _ in _LINE.findall(path.read_text(encoding="utf-8"))}
    return {name: "" if _PLACEHOLDER.search(value) else value for name, value in found.items()}


def missing(path: Path, facts: Mapping[str, str]) -> dict[str, str]:
    """The facts for which the file has no value."""
    known = read(path)
    return {name: fact for name, fact in facts.items() if not known.get(name)}


def fill_in(path: Path, facts: Mapping[str, str]) -> list[str]:
    """Fill in facts where the file has a placeholder or no value, and leave the rest of the file as it is.

    The file is written whole or not at all.

    Returns:
        The names of the facts that were filled in.
    """
    known, new = read(path), missing(path, facts)

    def line(match: re.Match[str]) -> str:
        name, _, _, comment = match.groups()
        return f'{name}: "{new[name]}"{comment or ""}' if name in new else match[0]

    text = _LINE.sub(line, path.read_text(encoding="utf-8"))
    text += "".join(f'{name}: "{fact}"\n' for name, fact in new.items() if name not in known)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return list(new)
