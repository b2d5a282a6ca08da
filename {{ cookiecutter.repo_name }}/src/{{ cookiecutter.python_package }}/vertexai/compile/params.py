"""Runtime parameters: the values of ``--params`` → the spec's STRUCT → the same values in the step.

A KFP STRUCT is a protobuf ``Struct``, which knows one kind of number, the double: 1.0 comes back as 1 and an integer
beyond 2**53 loses digits. Such numbers, and only they, travel as ``{"$number": "1.0"}``.
"""

import math
from collections.abc import Mapping
from typing import Any

from .errors import UserError, did_you_mean

_NUMBER = "$number"
_EXACT_INTEGERS = 2**53  # https://protobuf.dev/reference/protobuf/google.protobuf/#value


def encode(value: Any) -> Any:
    """Make a parameter survive the way through a protobuf ``Struct``; ``decode`` undoes it."""
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    exact = abs(value) <= _EXACT_INTEGERS if isinstance(value, int) else math.isfinite(value) and value % 1
    return value if exact else {_NUMBER: repr(value)}


def decode(value: Any) -> Any:
    """Undo ``encode``; a whole number that a ``Struct`` turned into a double is an integer again."""
    if isinstance(value, Mapping):
        if set(value) == {_NUMBER}:
            text = value[_NUMBER]
            return int(text) if text.lstrip("-").isdigit() else float(text)
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_known(
    params: Mapping[str, Any],
    declared: Mapping[str, Any],
    consumed: set[str],
    referenced: set[str],
    pipeline: str,
) -> None:
    """Refuse a parameter that would change nothing, so that a typo does not cost a run.

    Args:
        params: what the user passed, nested.
        declared: the parameters of ``parameters*.yml``, nested.
        consumed: dotted names of the parameters that nodes take; ``""`` is all of them.
        referenced: names that configuration files take by ``${runtime_params:…}``.
        pipeline: its name, for the message.

    Raises:
        UserError: naming the parameter and the nearest one that is used.
    """
    declared = _dotted(declared)
    known = {name for name in declared if _reaches_a_node(name, consumed)} | consumed - {""} | referenced
    open_ended = {name for name, value in declared.items() if value == {}}
    for name, value in _dotted(params).items():
        is_leaf = not isinstance(value, Mapping) or not value
        if is_leaf and name not in known and name.rpartition(".")[0] not in open_ended:
            raise UserError(
                f"--params {name}={value}: no node of pipeline '{pipeline}' uses parameter '{name}'."
                + did_you_mean(name, known)
            )


def _dotted(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a": {"b": 1}, "a.b": 1}``."""
    names: dict[str, Any] = {}
    for key, value in params.items():
        names[f"{prefix}{key}"] = value
        if isinstance(value, Mapping):
            names |= _dotted(value, f"{prefix}{key}.")
    return names


def _reaches_a_node(name: str, consumed: set[str]) -> bool:
    """Whether a node takes the parameter, a part of it, or something it is a part of."""
    return any(
        taken in ("", name) or name.startswith(f"{taken}.") or taken.startswith(f"{name}.") for taken in consumed
    )
