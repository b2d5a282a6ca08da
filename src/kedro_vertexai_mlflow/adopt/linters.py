"""The configuration of linters, type checkers and coverage → the same, but without the platform's folder.

Values are put in as lines of text, so comments and order stay. Another parser reads the result, and what does not have
the intended effect is left to the user instead.
"""

import configparser
import re
import tomllib
from contextlib import suppress
from typing import Any

from .changes import Change

FOLDER = "src/vertexai_mlflow"
_PATTERN = f"^{FOLDER}/"
# Table of pyproject.toml → keys that leave the folder out. The tables that have a mark are added if they are missing.
_ALWAYS = {"tool.ruff": {"extend-exclude": [FOLDER], "force-exclude": True}}
_WHERE_USED: dict[str, dict[str, Any]] = {
    "tool.coverage.run": {"omit": [f"{FOLDER}/*"]},
    "tool.mypy": {"exclude": [_PATTERN]},
    "tool.black": {"extend-exclude": FOLDER},
    "tool.isort": {"extend_skip": [FOLDER]},
    "tool.pylint.main": {"ignore-paths": [_PATTERN]},
    "tool.pyright": {"ignore": [FOLDER]},
}
# File → section → key and value, for linters whose configuration is no TOML.
_INI: dict[str, dict[str, tuple[str, str]]] = {
    ".flake8": {"flake8": ("extend-exclude", FOLDER)},
    "tox.ini": {"flake8": ("extend-exclude", FOLDER)},
    "setup.cfg": {
        "flake8": ("extend-exclude", FOLDER),
        "mypy": ("exclude", _PATTERN),
        "coverage:run": ("omit", f"{FOLDER}/*"),
    },
    "mypy.ini": {"mypy": ("exclude", _PATTERN)},
    ".coveragerc": {"run": ("omit", f"{FOLDER}/*")},
}
FILES = (*_INI, "ruff.toml", ".ruff.toml", ".pre-commit-config.yaml")


def leave_out_platform(path: str, text: str) -> Change:
    """Change one configuration file; ``pyproject.toml``, or one of ``FILES``."""
    change = Change(text)
    if path == "pyproject.toml":
        tables = _tables_of(tomllib.loads(text))
        for table, keys in {**_ALWAYS, **_WHERE_USED}.items():
            if table in _ALWAYS or table in tables or (table == "tool.coverage.run" and "cov" in text):
                _put(change, table, keys)
    elif path.endswith(".toml"):
        _put(change, "", _ALWAYS["tool.ruff"])
    elif path.endswith(".yaml"):
        _put_first(change, "exclude", _PATTERN)
    else:
        for section, (key, value) in _INI[path].items():
            _put_in_section(change, section, key, value)
    return change


def add_to_list(change: Change, table: str, key: str, values: list[str]) -> None:
    """Put texts into a list of a TOML table; both are made if they are not there."""
    _put(change, table, {key: values})


def _put(change: Change, table: str, keys: dict[str, Any]) -> None:
    for key, value in keys.items():
        present = _table(tomllib.loads(change.text), table)
        if key not in present:
            _try(change, _with_line(change.text, table, f"{key} = {_toml(value)}"), table, key, value)
        elif isinstance(value, list) and isinstance(present[key], list):
            if not set(value) <= set(present[key]):
                _try(change, _with_items(change.text, key, value), table, key, value)
        elif present[key] != value:
            change.left.append((0, f"[{table}] {key}: leave out {FOLDER}, which is the template's."))


def _try(change: Change, text: str, table: str, key: str, value: Any) -> None:
    """Take an edited text, if it has this value in addition and is the same otherwise."""
    before = tomllib.loads(change.text)
    with suppress(tomllib.TOMLDecodeError):
        after = tomllib.loads(text)
        new = _table(after, table).get(key)
        old = _table(before, table).get(key)
        intended = [*(old or []), *value] if isinstance(value, list) else value
        if new == intended and _without(after, table, key) == _without(before, table, key):
            change.text = text
            change.added.append(f"[{table}] {key} = {_toml(value)}" if table else f"{key} = {_toml(value)}")
            return
    change.left.append((0, f"[{table}]: add {key} = {_toml(value)}, because that folder is the template's."))


def _with_line(text: str, table: str, line: str) -> str:
    """Put a line below the header of a table, or the table at the end of the file."""
    if not table:
        return f"{line}\n{text}"
    header = re.search(rf"^[ \t]*\[{re.escape(table)}\][ \t]*(#.*)?$", text, re.MULTILINE)
    if header:
        return f"{text[: header.end()]}\n{line}{text[header.end() :]}"
    return f"{text.rstrip()}\n\n[{table}]\n{line}\n"


def _with_items(text: str, key: str, new: list[str]) -> str:
    """Put items at the end of the first list with this key."""
    opened = re.search(rf"^[ \t]*\"?{re.escape(key)}\"?[ \t]*=[ \t]*\[", text, re.MULTILINE)
    if not opened:
        return text
    closed = text.index("]", opened.end())
    items = text[opened.end() : closed].rstrip()
    comma = "" if not items.strip() or items.endswith(",") else ","
    space = "\n    " if "\n" in items else " " if items.strip() else ""
    end = text[opened.end() : closed][len(items) :]
    return f"{text[: opened.end()]}{items}{comma}{space}{', '.join(map(_toml, new))}{end}{text[closed:]}"


def _put_in_section(change: Change, section: str, key: str, value: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error):
        parser.read_string(change.text)
    if not parser.has_section(section) or FOLDER in parser.get(section, key, fallback=""):
        return
    if parser.has_option(section, key):
        change.left.append((0, f"[{section}] {key}: add {value}, because that folder is the template's."))
        return
    change.text = re.sub(
        rf"^\[{re.escape(section)}\].*$",
        lambda header: f"{header[0]}\n{key} = {value}",
        change.text,
        count=1,
        flags=re.MULTILINE,
    )
    change.added.append(f"[{section}] {key} = {value}")


def _put_first(change: Change, key: str, value: str) -> None:
    if present := re.search(rf"^{key}:(.*(?:\n[ \t]+.*)*)", change.text, re.MULTILINE):
        if FOLDER not in present[1]:
            line = change.text.count("\n", 0, present.start()) + 1
            change.left.append((line, f"{key}: add {value}, because that folder is the template's."))
        return
    change.text = f"{key}: {value}\n{change.text}"
    change.added.append(f"{key}: {value}")


def _tables_of(data: Any, prefix: str = "") -> set[str]:
    """The dotted names of all tables."""
    if not isinstance(data, dict):
        return set()
    names = {f"{prefix}{name}" for name, value in data.items() if isinstance(value, dict)}
    return names.union(*(_tables_of(value, f"{prefix}{name}.") for name, value in data.items()))


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    for part in name.split(".") if name else ():
        data = data.get(part, {})
    return data


def _without(data: dict[str, Any], table: str, key: str) -> dict[str, Any]:
    """The same without a key, and without tables that are empty then."""
    first, _, rest = table.partition(".")
    if not table:
        return {name: value for name, value in data.items() if name != key}
    inner = _without(data.get(first, {}), rest, key)
    others = {name: value for name, value in data.items() if name != first}
    return {**others, first: inner} if inner else others


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else f'"{value}"'
