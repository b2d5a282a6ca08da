"""Files that the job's run keeps beside what the project logs: its spec, its parameters, the logs of failed steps."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import yaml

from ..contract.params import parts_of
from ..errors import shown

_LOG = logging.getLogger(__name__)
# Parameters whose values nobody but the steps may see.
_LOOKS_SECRET = re.compile(r"secret|passw|token|credential|private|api_?key", re.IGNORECASE)


def log_text(run_id: str, text: str, file: str) -> None:
    """Keep a text as an artifact of a run. A job does not fail because that cannot be done."""
    try:
        mlflow.MlflowClient().log_text(run_id, text, file)
    except Exception as error:
        _LOG.warning("%s could not be kept in the MLflow run: %s", file, shown(str(error)))


def as_yaml(parameters: Mapping[str, Any], hidden: Sequence[str] = ()) -> str:
    """Parameters as YAML; of a type that YAML does not know, as Python shows them.

    Args:
        parameters: by name, nested.
        hidden: names with dots of those whose values are not shown.
    """
    return yaml.dump(_plain(parameters, "", hidden), Dumper=yaml.SafeDumper, allow_unicode=True, sort_keys=False)


def is_hidden(name: str, hidden: Sequence[str]) -> bool:
    """Whether a param of MLflow has, or is a part of, a parameter that is hidden. A node may take all of them."""
    return bool(hidden) and (
        name == "parameters"
        or f"{name.removeprefix('parameters.')}.".startswith(tuple(f"{parameter}." for parameter in hidden))
    )


def _plain(value: Any, name: str, hidden: Sequence[str]) -> Any:
    parts = parts_of(value)
    is_whole = not parts and not isinstance(value, Mapping)
    looks_secret = _LOOKS_SECRET.search(name) and is_whole and not isinstance(value, list | int | float | type(None))
    if looks_secret or name in hidden:
        return "***"
    if not is_whole:
        prefix = f"{name}." if name else ""
        return {str(key): _plain(item, f"{prefix}{key}", hidden) for key, item in parts.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name, hidden) for item in value]
    # YAML refuses what inherits from these, such as NumPy's numbers and the members of a StrEnum.
    kinds = (kind for kind in (bool, int, float, str) if isinstance(value, kind))
    return None if value is None else next(kinds, str)(value)
