"""What the result of a step depends on → a fingerprint, by which a later job tells whether it may take that result."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kedro.pipeline.node import Node

from .datasets import datasets_in
from .refusals import parameters_in

# The parts of a fingerprint, in this order.
PARTS = ("code", "parameters", "catalog entries")
_LENGTH = 12


def fingerprint(nodes: Sequence[Node], parameters: Mapping[str, Any], entry: Callable[[str], Any]) -> str:
    """Digest what the nodes of a step depend on, besides their data.

    The code is the source of the nodes' functions, without what these call.

    Args:
        nodes: the nodes.
        parameters: all parameters, nested.
        entry: dataset → what the catalog says about it.

    Returns:
        A digest for each of ``PARTS``, joined by hyphens.
    """
    code = [[node.name, node.inputs, node.outputs, _source(node.func)] for node in nodes]
    inputs = [name for node in nodes for name in node.inputs]
    values = {name: _value(parameters, name) for name in sorted(parameters_in(inputs))}
    datasets = datasets_in([*inputs, *(name for node in nodes for name in node.outputs)])
    return "-".join(map(_digest, (code, values, {name: entry(name) for name in datasets})))


def changed_parts(before: str, now: str) -> list[str]:
    """The parts in which two fingerprints differ."""
    digests = zip(PARTS, before.split("-"), now.split("-"), strict=True)
    return [part for part, old, new in digests if old != new]


def _source(function: Any) -> Any:
    if isinstance(function, partial):
        return [_source(function.func), repr(function.args), repr(function.keywords)]
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # it was made in another way than in a file
        code = getattr(function, "__code__", None)
        return code.co_code.hex() if code else type(function).__qualname__


def _value(parameters: Mapping[str, Any], name: str) -> Any:
    """A parameter by its dotted name; all of them if it is empty."""
    value: Any = parameters
    for part in name.split(".") if name else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
