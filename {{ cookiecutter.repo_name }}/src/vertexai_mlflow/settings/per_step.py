"""``run_config``'s resources, node selectors and caching → what each step asks of the machine it runs on.

For each field, the most specific entry that says something counts: the group, the node, a tag of it, ``__default__``.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from kedro.pipeline.node import Node

from ..errors import UserError
from .models import RunConfig
from .resources import Resources, Shared

DEFAULT = "__default__"


def resources_of(node: Node, run_config: RunConfig, group: str | None = None) -> Resources:
    """What one node asks for.

    Args:
        node: the node.
        run_config: ``run_config`` of ``vertexai.yml``.
        group: the group it runs in, whose entry counts before the node's own.

    Raises:
        UserError: when two of its tags say different things.
    """
    names = [group, node.name] if group else [node.name]
    found = {
        field: _most_specific(names, node, run_config.resources, f"resources…{field}", attrgetter(field))
        for field in Resources.model_fields
    }
    if not found["gpu_type"]:
        selectors = run_config.node_selectors
        found["gpu_type"] = _most_specific(names, node, selectors, "node_selectors", attrgetter("accelerator"))
    if found["gpu"] is None and found["gpu_type"]:  # who names a type wants one of it
        found["gpu"] = 1
    return Resources.model_construct(**found)


def step_resources(name: str, nodes: Iterable[Node], run_config: RunConfig) -> Resources:
    """What a group of nodes asks for, by an entry of its own or else by what its nodes ask for.

    Raises:
        UserError: when its nodes cannot share a machine.
    """
    asked = [resources_of(node, run_config, name) for node in nodes]
    own = run_config.resources.get(name, Resources())
    with_gpu = [one for one in asked if one.gpu]
    found = {}
    for field, info in Resources.model_fields.items():
        values = [getattr(one, field) for one in (with_gpu if field == "gpu_type" else asked)]
        (rule,) = (item for item in info.metadata if isinstance(item, Shared))
        found[field] = _shared(name, field, rule, values, getattr(own, field))
    return Resources.model_construct(**found)


def is_cached(name: str, nodes: Iterable[Node], run_config: RunConfig, reaches_out: bool) -> bool:
    """Whether a step's result is taken from an earlier run that had the same inputs.

    Args:
        name: name of the group.
        nodes: its nodes.
        run_config: ``run_config`` of ``vertexai.yml``.
        reaches_out: whether it writes datasets of the catalog, which skipping the step would leave unwritten, or reads
            what may change without anybody noticing: remote files, tables, MLflow. Such a step is cached only when its
            own name or all of its nodes' names ask for it.
    """
    entries = run_config.caching if isinstance(run_config.caching, Mapping) else {DEFAULT: run_config.caching}
    if name in entries:
        return entries[name]
    answers = [_most_specific([node.name], node, entries, "caching", lambda entry: entry) for node in nodes]
    if reaches_out and not all(entries.get(node.name) for node in nodes):
        return False
    return all(answers)


def _shared(group: str, field: str, rule: Shared, values: list[Any], own: Any) -> Any:
    """One resource of a group of nodes, by the rule that its model states."""
    said = [value for value in values if value is not None]
    if rule.how == "same":
        if len(different := set(values)) > 1:
            raise UserError(
                f"run_config.resources: nodes of step '{group}' ask for different values of '{field}' "
                f"({', '.join(sorted(map(str, different)))}). Group them differently, or add an entry '{group}'."
            )
        return values[0] if values else None
    if rule.how == "sum":
        return own or (sum(said) if said and len(said) == len(values) else None)
    return max(said, key=rule.key, default=None)


def _most_specific(
    names: list[str], node: Node, entries: Mapping[str, Any], what: str, get: Callable[[Any], Any]
) -> Any:
    """The value of the most specific entry that has one."""
    for name in names:
        if name in entries and (value := get(entries[name])) is not None:
            return value
    by_tag = {tag: value for tag in sorted(node.tags) if tag in entries and (value := get(entries[tag])) is not None}
    if len(set(by_tag.values())) > 1:
        said = ", ".join(f"{tag}: {value}" for tag, value in by_tag.items())
        raise UserError(
            f"run_config.{what}: tags of node '{node.name}' say different things ({said}). "
            f"Add an entry '{node.name}', which counts before its tags."
        )
    if by_tag:
        return next(iter(by_tag.values()))
    return get(entries[DEFAULT]) if DEFAULT in entries else None
