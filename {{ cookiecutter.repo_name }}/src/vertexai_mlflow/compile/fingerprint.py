"""What the result of a step depends on → a fingerprint, by which a later job tells whether it may take that result."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kedro.pipeline.node import Node

from ..settings.configuration import resolvers_in
from .datasets import datasets_in
from .refusals import parameters_in, reaches
from .source_digest import CannotTell, Describer

# The parts of a fingerprint, in this order.
PARTS = ("code", "parameters", "catalog entries")
_LENGTH = 12
# In the place of a part that cannot be told; a fingerprint that has one is like no other.
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Definitions:
    """What the project says about what its nodes take.

    Args:
        root: the project's folder.
        parameters: all parameters by the names that nodes take them by, ``params:model.depth``; see ``by_name``.
        entry: dataset → what the catalog says about it.
        class_of: dataset → its class, if that is not one of Kedro's.
        resolvers: the project's own resolvers, whose names are marked in parameters and entries.
        uploaded: dataset → the SHA-256 of what was uploaded of it, joined by commas.
        types: parameter → the class that Kedro makes of it, by the type hint of a node.
    """

    root: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    entry: Callable[[str], Any] = lambda _dataset: None
    class_of: Callable[[str], type | None] = lambda _dataset: None
    resolvers: Mapping[str, Any] = field(default_factory=dict)
    uploaded: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, type] = field(default_factory=dict)


def fingerprint(
    nodes: Sequence[Node], definitions: Definitions, env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Digest what the nodes of a step depend on, besides the data that other steps make.

    Args:
        nodes: the nodes.
        definitions: what the project says about what they take.
        env: the step's environment variables, which count as parameters.

    Returns:
        A digest for each of ``PARTS``, joined by hyphens; and why one of them is not known, empty if all are.
    """
    inputs = [name for node in nodes for name in node.inputs]
    datasets = datasets_in([*inputs, *(name for node in nodes for name in node.outputs)])
    names = sorted(parameters_in(inputs))
    types = {name: class_ for name, class_ in sorted(definitions.types.items()) if reaches(name, names)}
    # What no file says of an object, its class does.
    prefixes = tuple(f"{name}." for name in types)
    absent = [name for name in names if name not in definitions.parameters and not name.startswith(prefixes)]
    values = {name: definitions.parameters.get(name) for name in names}
    entries = {name: definitions.entry(name) for name in datasets}
    parts = {
        "code": [[node.name, node.inputs, node.outputs, node.func] for node in nodes],
        "parameters": [values, _resolvers_in(values, definitions), *filter(None, (dict(env or {}), types))],
        "catalog entries": [
            entries,
            [definitions.class_of(name) for name in datasets],
            [definitions.uploaded.get(name) for name in datasets],
            _resolvers_in(entries, definitions),
        ],
    }
    digests, reasons = [], []
    for part in PARTS:
        try:
            if part == "parameters" and absent:
                raise CannotTell(f"'{absent[0]}', which no file has")
            digests.append(_digest(Describer(definitions.root).describe(parts[part])))
        except CannotTell as unknown:
            digests.append(_UNKNOWN)
            reasons.append(f"its {part} cannot be compared ({unknown})")
    return "-".join(digests), ", and ".join(reasons)


def changed_parts(before: str, now: str) -> list[str]:
    """The parts in which two fingerprints differ."""
    return [part for part, old, new in _digests_of(before, now) if old != new]


def unknown_parts(before: str, now: str) -> list[str]:
    """The parts in which two fingerprints cannot be compared."""
    return [part for part, old, new in _digests_of(before, now) if _UNKNOWN in (old, new)]


def _digests_of(before: str, now: str) -> Iterable[tuple[str, str, str]]:
    """Each part with its digests in two fingerprints."""
    return zip(PARTS, before.split("-"), now.split("-"), strict=True)


def _resolvers_in(values: Any, definitions: Definitions) -> dict[str, Any]:
    """The resolvers whose values are somewhere in these."""
    names = sorted(resolvers_in(values))
    return {name: definitions.resolvers[name] for name in names if name in definitions.resolvers}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode(errors="surrogatepass")).hexdigest()[:_LENGTH]
