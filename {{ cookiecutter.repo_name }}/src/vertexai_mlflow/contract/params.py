"""Parameters on their way to the steps: through a protobuf ``Struct``, and past OmegaConf."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

# An interpolation of OmegaConf, and the backslashes before it, of which two stand for one.
_INTERPOLATION = re.compile(r"(\\*)\$\{")

# Keys of a dictionary that is written in the place of a value which a protobuf Struct would change.
_EXACT = "$json"
_PAIRS = "$pairs"
_DATE = "$date"
_EXACT_INTEGERS = 2**53  # https://protobuf.dev/reference/protobuf/google.protobuf/#value


def leaves(nested: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` → ``a.b``, 1, as ``kedro run --params`` writes it. An empty dictionary is a leaf."""
    if isinstance(nested, Mapping) and nested:
        for key, value in nested.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, nested


def parts_of(value: Any) -> Mapping[str, Any]:
    """What Kedro takes a parameter apart into: items of a dictionary, or fields of a pydantic model or a dataclass."""
    if isinstance(value, Mapping):
        return value
    from kedro.validation.utils import get_typed_fields

    return get_typed_fields(value) or {}


def by_name(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters by the names under which Kedro gives them to nodes."""
    named: dict[str, Any] = {"": dict(parameters)}

    def add(name: str, value: Any) -> None:
        named[name] = value
        for key, item in parts_of(value).items():
            add(f"{name}.{key}", item)

    for name, value in parameters.items():
        add(str(name), value)
    return named


def merged(config: Any, values: Any) -> Any:
    """A dictionary with these values in the place of its own, nested."""
    if not isinstance(values, Mapping) or not isinstance(config, Mapping):
        return values
    return {**config, **{key: merged(config.get(key), value) for key, value in values.items()}}


def encode(value: Any) -> Any:
    """Prepare a runtime parameter for its way through a protobuf ``Struct``; ``decode`` undoes it.

    A ``Struct`` knows one kind of number, the double: 1.0 comes back as 1, and an integer beyond 2**53 loses digits.
    KFP takes no null, and keys are texts. Only what would not arrive as it is travels as ``{"$json": "1.0"}`` or,
    a dictionary with other keys, as ``{"$pairs": [[1, "x"]]}``; dates and times, which only resolvers make, as
    ``{"$date": …}``.
    """
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key not in (_EXACT, _PAIRS, _DATE) for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {_PAIRS: [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, date | time):
        return {_DATE: value.isoformat()}
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return value
    if isinstance(value, int):
        exact = abs(value) <= _EXACT_INTEGERS
    else:
        exact = value is not None and math.isfinite(value) and value % 1 != 0
    return value if exact else {_EXACT: json.dumps(value)}


def decode(value: Any) -> Any:
    """Undo ``encode``. A whole number that a ``Struct`` turned into a double becomes an integer again."""
    if isinstance(value, Mapping):
        if set(value) == {_EXACT}:
            return json.loads(value[_EXACT])
        if set(value) == {_PAIRS}:
            return {decode(key): decode(item) for key, item in value[_PAIRS]}
        if set(value) == {_DATE}:
            type_ = datetime if "T" in value[_DATE] else time if ":" in value[_DATE] else date
            return type_.fromisoformat(value[_DATE])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def comes_back(value: Any) -> bool:
    """Whether a value is the same, also in type, after ``encode``, its way through JSON, and ``decode``."""
    try:
        return _is_same(value, decode(json.loads(json.dumps(encode(value), allow_nan=False))))
    except Exception:  # a subclass of a text or a number may raise anything
        return False


def _is_same(value: Any, other: Any) -> bool:
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        items = zip(value.items(), other.items(), strict=False)
        return len(value) == len(other) and all(_is_same(*pair) for item in items for pair in zip(*item, strict=True))
    if isinstance(value, list):
        return len(value) == len(other) and all(map(_is_same, value, other))
    return repr(value) == repr(other)


def literal(value: Any) -> Any:
    """Escape a runtime parameter, so that Kedro's configuration takes its texts as they are.

    OmegaConf would evaluate ``${…}`` in them, and call resolvers such as ``${gcp.access_token:}``. A value that is
    given at run time is data.
    """
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return _INTERPOLATION.sub(r"\1\1\${", value) if isinstance(value, str) else value
