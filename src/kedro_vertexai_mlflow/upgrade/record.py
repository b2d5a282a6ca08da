"""Read ``.cruft.json``, which says where a project comes from. Nobody reads it as code, so it is not believed."""

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import UserError
from ..files import RECORD


def read_record(project: Path) -> dict[str, Any]:
    """Return the record of a project.

    Raises:
        UserError: when there is none, or it is not one. What answers may be is the business of ``render``.
    """
    if not (project / RECORD).exists():
        raise UserError(
            f"There is no {RECORD} here, the file that says where the project comes from. Run this in the project's "
            "folder, or create the file: cruft link <the template's address> --checkout <the commit it was generated "
            "from>."
        )
    try:
        record = json.loads((project / RECORD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{RECORD} cannot be read: {error}. Fix it.") from None
    for name, (is_valid, description) in _RULES.items():
        value = record.get(name) if isinstance(record, dict) else None
        if not is_valid(value):
            raise UserError(f"{RECORD}: {name} is {value!r:.200}, and must be {description}.")
    for name in ("skip", "owned"):
        for path in record.get(name) or []:
            if not _is_inside(path):
                raise UserError(f"{RECORD}: {name}: {path} is not a path inside the project. Remove it.")
    valid_record: dict[str, Any] = record
    return valid_record


def _is_inside(path: Any) -> bool:
    """Whether a path below the project's folder stays there, on every operating system."""
    if not isinstance(path, str) or not path.isprintable():
        return False
    windows_path, parts = PureWindowsPath(path), PurePosixPath(path.replace("\\", "/")).parts
    return bool(parts) and ".." not in parts and not windows_path.drive and not windows_path.root


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value) and not value.startswith("-")


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list)


# Key → whether its value is one, and in words what it must be.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "template": (_is_address, "the address of the template's repository"),
    "commit": (
        lambda value: isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{7,64}", value)),
        "the commit of the template from which the project was generated",
    ),
    "context": (
        lambda value: (
            isinstance(value, dict)
            and isinstance(value.get("cookiecutter"), dict)
            and "python_package" in value["cookiecutter"]
        ),
        "a table with the answers in `cookiecutter`, python_package among them",
    ),
    "skip": (_is_list, "a list of paths"),
    "owned": (_is_list, "a list of paths"),
}
