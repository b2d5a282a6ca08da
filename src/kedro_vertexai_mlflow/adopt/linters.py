"""Configure linters, type checkers and coverage: their files go in, and come out with the platform's folder excluded.

Values are inserted as lines of text, so comments and order stay. Another parser reads the result, and an edit that does
not have the intended effect is left to the user instead.
"""

import configparser
import re
import tomllib
from contextlib import suppress
from typing import Any

from ..files import PLATFORM
from .changes import Change

_PATTERN = f"^{PLATFORM}/"
# Table of pyproject.toml → keys that exclude the folder. Tables that are not there are added for ``_ALWAYS`` only.
_ALWAYS = {"tool.ruff": {"extend-exclude": [PLATFORM], "force-exclude": True}}
_WHERE_USED: dict[str, dict[str, Any]] = {
    "tool.coverage.run": {"omit": [f"{PLATFORM}/*"]},
    "tool.mypy": {"exclude": [_PATTERN]},
    "tool.black": {"extend-exclude": PLATFORM},
    "tool.isort": {"extend_skip": [PLATFORM]},
    "tool.pylint.main": {"ignore-paths": [_PATTERN]},
    "tool.pyright": {"ignore": [PLATFORM]},
}
# File → section → key and value, for linters whose configuration is not TOML.
_INI: dict[str, dict[str, tuple[str, str]]] = {
    ".flake8": {"flake8": ("extend-exclude", PLATFORM)},
    "tox.ini": {"flake8": ("extend-exclude", PLATFORM)},
    "setup.cfg": {
        "flake8": ("extend-exclude", PLATFORM),
        "mypy": ("exclude", _PATTERN),
        "coverage:run": ("omit", f"{PLATFORM}/*"),
    },
    "mypy.ini": {"mypy": ("exclude", _PATTERN)},
    ".coveragerc": {"run": ("omit", f"{PLATFORM}/*")},
}
LINTER_FILES = (*_INI, "ruff.toml", ".ruff.toml", ".pre-commit-config.yaml")


def exclude_platform(path: str, text: str) -> Change:
    """Change one configuration file; ``pyproject.toml``, or one of ``LINTER_FILES``."""
    change = Change(text)
    if path == "pyproject.toml":
        tables = _list_tables(tomllib.loads(text))
        for table, keys in {**_ALWAYS, **_WHERE_USED}.items():
            if table in _ALWAYS or table in tables or (table == "tool.coverage.run" and "cov" in text):
                _set_keys(change, table, keys)
    elif path.endswith(".toml"):
        _set_keys(change, "", _ALWAYS["tool.ruff"])
    elif path.endswith(".yaml"):
        _set_at_top(change, "exclude", _PATTERN)
    else:
        for section, (key, value) in _INI[path].items():
            _set_in_section(change, section, key, value)
    return change


def add_to_list(change: Change, table: str, key: str, values: list[str]) -> None:
    """Add texts to a list in a TOML table; both are created if they do not exist."""
    _set_keys(change, table, {key: values})


def _set_keys(change: Change, table: str, keys: dict[str, Any]) -> None:
    for key, value in keys.items():
        existing = _get_table(tomllib.loads(change.text), table)
        if key not in existing:
            _accept_edit(change, _insert_line(change.text, table, f"{key} = {_format_toml(value)}"), table, key, value)
        elif isinstance(value, list) and isinstance(existing[key], list):
            if not set(value) <= set(existing[key]):
                _accept_edit(change, _append_items(change.text, key, value), table, key, value)
        elif existing[key] != value:
            change.todos.append((0, f"[{table}] {key}: leave out {PLATFORM}, which is the template's."))


def _accept_edit(change: Change, text: str, table: str, key: str, value: Any) -> None:
    """Accept an edited text if it has this value and is otherwise the same."""
    line = f"{key} = {_format_toml(value)}"
    before = tomllib.loads(change.text)
    with suppress(tomllib.TOMLDecodeError):
        after = tomllib.loads(text)
        new = _get_table(after, table).get(key)
        old = _get_table(before, table).get(key)
        intended = [*(old or []), *value] if isinstance(value, list) else value
        if new == intended and _drop_key(after, table, key) == _drop_key(before, table, key):
            change.text = text
            change.additions.append(f"[{table}] {line}" if table else line)
            return
    change.todos.append((0, f"[{table}]: add {line}, because that folder is the template's."))


def _insert_line(text: str, table: str, line: str) -> str:
    """Insert a line below the header of a table, or add the table at the end of the file."""
    if not table:
        return f"{line}\n{text}"
    if header := re.search(rf"^[ \t]*\[{re.escape(table)}\][ \t]*(#.*)?$", text, re.MULTILINE):
        return f"{text[: header.end()]}\n{line}{text[header.end() :]}"
    return f"{text.rstrip()}\n\n[{table}]\n{line}\n"


def _append_items(text: str, key: str, new: list[str]) -> str:
    """Append items to the first list with this key."""
    opening = re.search(rf"^[ \t]*\"?{re.escape(key)}\"?[ \t]*=[ \t]*\[", text, re.MULTILINE)
    if not opening:
        return text
    start, end = opening.end(), text.index("]", opening.end())
    items = text[start:end].rstrip()
    comma = "" if not items.strip() or items.endswith(",") else ","
    space = "\n    " if "\n" in items else " " if items.strip() else ""
    return f"{text[:start]}{items}{comma}{space}{', '.join(map(_format_toml, new))}{text[start + len(items) :]}"


def _set_in_section(change: Change, section: str, key: str, value: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error):
        parser.read_string(change.text)
    if not parser.has_section(section) or PLATFORM in parser.get(section, key, fallback=""):
        return
    if parser.has_option(section, key):
        change.todos.append((0, f"[{section}] {key}: add {value}, because that folder is the template's."))
        return
    header = re.compile(rf"^\[{re.escape(section)}\].*$", re.MULTILINE)
    change.text = header.sub(lambda match: f"{match[0]}\n{key} = {value}", change.text, count=1)
    change.additions.append(f"[{section}] {key} = {value}")


def _set_at_top(change: Change, key: str, value: str) -> None:
    if match := re.search(rf"^{key}:(.*(?:\n[ \t]+.*)*)", change.text, re.MULTILINE):
        if PLATFORM not in match[1]:
            line = change.text.count("\n", 0, match.start()) + 1
            change.todos.append((line, f"{key}: add {value}, because that folder is the template's."))
        return
    change.text = f"{key}: {value}\n{change.text}"
    change.additions.append(f"{key}: {value}")


def _list_tables(data: Any, prefix: str = "") -> set[str]:
    """Return the dotted names of all tables."""
    if not isinstance(data, dict):
        return set()
    names = {f"{prefix}{name}" for name, value in data.items() if isinstance(value, dict)}
    return names.union(*(_list_tables(value, f"{prefix}{name}.") for name, value in data.items()))


def _get_table(data: dict[str, Any], name: str) -> dict[str, Any]:
    for part in name.split(".") if name else ():
        data = data.get(part, {})
    return data


def _drop_key(data: dict[str, Any], table: str, key: str) -> dict[str, Any]:
    """Return the data without a key, and without tables that this leaves empty."""
    first, _, rest = table.partition(".")
    if not table:
        return {name: value for name, value in data.items() if name != key}
    inner = _drop_key(data.get(first, {}), rest, key)
    others = {name: value for name, value in data.items() if name != first}
    return {**others, first: inner} if inner else others


def _format_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_format_toml, value))}]" if isinstance(value, list) else f'"{value}"'
