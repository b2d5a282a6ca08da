"""Kedro pipeline → groups of nodes; each group runs as one step.

A grouper is any object with ``group(pipeline, resources)``: the pipeline, and a function that tells what a node asks of
its machine, in; group name → its nodes, out. Nodes that no group has are steps of their own. Its constructor gets
``run_config.grouping.params``.
"""

from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..errors import UserError, did_you_mean
from .settings.models import GroupingConfig
from .settings.resources import Resources

Groups = dict[str, list[Node]]
ResourcesOf = Callable[[Node], Resources]


class IdentityNodeGrouper:
    """A step per node."""

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """Each node alone."""
        return {node.name: [node] for node in pipeline.nodes}


class TagNodeGrouper:
    """Nodes with the same tag ``<tag_prefix><name>`` run together as ``name``.

    Args:
        tag_prefix: what group tags begin with; Kedro 1 takes no ``group:``, kedro-vertexai's default.
    """

    def __init__(self, tag_prefix: str = "group.") -> None:
        self._prefix = tag_prefix

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """By tag.

        Raises:
            UserError: naming a node that two groups claim.
        """
        groups: Groups = {}
        for node in pipeline.nodes:
            tags = sorted(tag for tag in node.tags if tag.startswith(self._prefix))
            if len(tags) > 1:
                raise UserError(f"Node '{node.name}' has {len(tags)} group tags: {', '.join(tags)}. Leave it one.")
            for tag in tags:
                groups.setdefault(tag.removeprefix(self._prefix), []).append(node)
        return groups


class NamespaceNodeGrouper:
    """Nodes of one top-level namespace run together."""

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """As ``Pipeline.group_nodes_by("namespace")`` does it."""
        nodes = {node.name: node for node in pipeline.nodes}
        return {group.name: [nodes[name] for name in group.nodes] for group in pipeline.group_nodes_by("namespace")}


class ChainNodeGrouper:
    """Straight chains of nodes that ask for equal resources run together: each step costs a minute of start-up."""

    def group(self, pipeline: Pipeline, resources: ResourcesOf) -> Groups:
        """A node joins the one before it if neither has another neighbour on that side."""
        parents = pipeline.node_dependencies
        children: dict[Node, list[Node]] = {node: [] for node in parents}
        for node, before in parents.items():
            for parent in before:
                children[parent].append(node)
        chains: dict[Node, list[Node]] = {}  # by last node
        for node in pipeline.nodes:
            (parent,) = parents[node] if len(parents[node]) == 1 else (None,)
            joins = parent in chains and len(children[parent]) == 1 and resources(parent) == resources(node)
            chains[node] = [*chains.pop(parent), node] if joins and parent else [node]
        return {_name(chain): chain for chain in chains.values()}


def group_nodes(
    pipeline: Pipeline, grouping: GroupingConfig, resources: ResourcesOf
) -> dict[str, tuple[list[Node], list[str]]]:
    """Cut a pipeline into groups, in an order in which they can run.

    Args:
        pipeline: the Kedro pipeline.
        grouping: ``run_config.grouping``.
        resources: what a node asks for.

    Returns:
        Group name → its nodes, and the groups that must have run before.

    Raises:
        UserError: when there is no such grouper, or what it returns is no partition or has a cycle.
    """
    found: Mapping[str, Any] = _grouper(grouping).group(pipeline, resources)
    group_of: dict[Node, str] = {}
    for name, nodes in found.items():
        for node in nodes:
            if node in group_of:
                raise UserError(f"run_config.grouping: node '{node.name}' is in '{group_of[node]}' and in '{name}'.")
            group_of[node] = name
    parents = pipeline.node_dependencies
    if strangers := sorted(node.name for node in group_of if node not in parents):
        raise UserError(f"run_config.grouping: '{strangers[0]}' is no node of the pipeline.")
    groups: Groups = {}
    for node in pipeline.nodes:  # the order in which they can run
        groups.setdefault(group_of.setdefault(node, node.name), []).append(node)
    before = {
        name: sorted({group_of[parent] for node in nodes for parent in parents[node]} - {name})
        for name, nodes in groups.items()
    }
    return {name: (groups[name], before[name]) for name in _in_order(before)}


def _in_order(before: Mapping[str, list[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        raise UserError(
            f"run_config.grouping: groups wait for each other: {cycle}. Move a node from one of them to another."
        ) from None


def _grouper(grouping: GroupingConfig) -> Any:
    """The grouper by its name here, kedro-vertexai's name for it, or the path of one's own class."""
    where = f"run_config.grouping.cls: {grouping.cls}"
    module, _, name = grouping.cls.rpartition(".")
    if module in ("", "kedro_vertexai.grouping"):
        own = {known: cls for known, cls in globals().items() if known.endswith("NodeGrouper")}
        if name not in own:
            raise UserError(f"{where}: there is no such grouper.{did_you_mean(name, own)}")
        cls = own[name]
    else:
        try:
            cls = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{where}: cannot be imported ({error}).") from None
    try:
        return cls(**grouping.params)
    except TypeError as error:
        raise UserError(f"run_config.grouping.params: {error}") from None


def _name(chain: list[Node]) -> str:
    return chain[0].name if len(chain) == 1 else f"{chain[0].name}-to-{chain[-1].name}"
