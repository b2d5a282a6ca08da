"""What each step asks of its machine, and whether it is cached: ``run_config``'s resources, node selectors, caching.

For each field, the most specific entry that has it counts: of the group, the node, a pattern that its name fits, one of
its tags, ``__default__``.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from kedro.pipeline.node import Node

from ..errors import UserError
from .models import RunConfig
from .resources import SHARING, Resources

DEFAULT = "__default__"


def resources_of(node: Node, run_config: RunConfig, group: str | None = None) -> Resources:
    """What one node asks for.

    Args:
        node: the node.
        run_config: ``run_config`` of ``vertexai.yml``.
        group: the group it runs in, whose entry takes precedence over the node's own.

    Raises:
        UserError: when two patterns of one length, or two of its tags, disagree.
    """
    names = [group, node.name] if group else [node.name]
    fields: dict[str, Any] = {}
    for field in SHARING:
        values = {name: getattr(entry, field) for name, entry in run_config.resources.items()}
        fields[field] = _most_specific(names, node, values, f"resources.*.{field}")
    if not fields["gpu_type"]:
        gpu_types = {name: entry.accelerator for name, entry in run_config.node_selectors.items()}
        fields["gpu_type"] = _most_specific(names, node, gpu_types, "node_selectors")
    # A GPU type without a number means one GPU, unless the machine says how many it has.
    if fields["gpu"] is None and fields["gpu_type"] and not fields["machine_type"]:
        fields["gpu"] = 1
    return Resources.model_construct(**fields)


def step_resources(name: str, nodes: Iterable[Node], run_config: RunConfig) -> Resources:
    """What a group of nodes asks for, by an entry of its own or else by what its nodes ask for.

    Raises:
        UserError: when its nodes cannot share a machine.
    """
    requests = [resources_of(node, run_config, name) for node in nodes]
    fields: dict[str, Any] = {}
    for field, share in SHARING.items():
        # A node without a GPU can run on a machine with any.
        values = [getattr(request, field) for request in requests if request.gpu != 0 or field != "gpu_type"]
        try:
            fields[field] = share(values)
        except ValueError as error:
            raise UserError(
                f"run_config.resources: nodes of step '{name}' ask for different values of '{field}' ({error}). "
                f"Group them differently, or add an entry '{name}'."
            ) from None
    if name in run_config.resources:  # its timeout is for all nodes together
        fields["timeout"] = run_config.resources[name].timeout or fields["timeout"]
    fields["env"] = {**run_config.env, **(fields["env"] or {})} or None
    return Resources.model_construct(**fields)


def is_cached(name: str, nodes: Iterable[Node], run_config: RunConfig, reaches_out: bool) -> bool:
    """Whether a step's result is taken from an earlier run that had the same inputs.

    Args:
        name: name of the group.
        nodes: its nodes.
        run_config: ``run_config`` of ``vertexai.yml``.
        reaches_out: whether it writes datasets of the catalog, which would not be written if the step was skipped, or
            reads what may change unnoticed: remote files, tables, MLflow. Such a step is cached only when its own name
            or all of its nodes' names ask for it.
    """
    entries = run_config.caching if isinstance(run_config.caching, Mapping) else {DEFAULT: run_config.caching}
    if name in entries:
        return entries[name]
    answers = [_most_specific([node.name], node, entries, "caching") for node in nodes]
    if reaches_out and not all(entries.get(node.name) for node in nodes):
        return False
    return all(answers)


def _most_specific(names: list[str], node: Node, values: Mapping[str, Any], key: str) -> Any:
    """The value of the most specific entry that has one: of these names, a pattern, the node's tags, or the default."""
    entries = {name: value for name, value in values.items() if value is not None}
    for name in names:
        if name in entries:
            return entries[name]
    patterns = [name for name in entries if _is_pattern(name) and fnmatchcase(node.name, name)]
    longest = max(map(len, patterns), default=0)
    by_pattern = {name: entries[name] for name in patterns if len(name) == longest}
    by_tag = {tag: entries[tag] for tag in sorted(node.tags) if tag in entries}
    for kind, chosen in (("the patterns", by_pattern), ("the tags", by_tag)):
        if not chosen:
            continue
        value = next(iter(chosen.values()))
        if any(other != value for other in chosen.values()):
            listed = ", ".join(f"{name}: {other}" for name, other in chosen.items())
            whose = f"{kind} of node '{node.name}'" if chosen is by_tag else f"{kind} that fit node '{node.name}'"
            raise UserError(
                f"run_config.{key}: {whose} disagree ({listed}). Add an entry '{node.name}', which takes precedence "
                f"over {'its tags' if chosen is by_tag else 'patterns'}."
            )
        return value
    return entries.get(DEFAULT)


def _is_pattern(name: str) -> bool:
    """Whether an entry's name stands for several nodes: ``train_*``. Kedro allows none of these letters in a name."""
    return any(letter in name for letter in "*?[")
