"""Cut a Kedro pipeline into groups of nodes, each of which runs as one step.

A grouper is any class with a method ``group(pipeline, resources)``. The method gets the Kedro pipeline and a function
that returns the resources of a node; it returns a mapping of group names to nodes. A node that is in no group becomes a
step of its own. The constructor gets ``run_config.grouping.params``.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from .errors import UserError, did_you_mean
from .settings.models import GroupingConfig
from .settings.resources import Resources

Groups = dict[str, list[Node]]
ResourcesOf = Callable[[Node], Resources]


class IdentityNodeGrouper:
    """Each node runs as a step of its own."""

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """Put each node into a group of its own."""
        return {node.name: [node] for node in pipeline.nodes}


class TagNodeGrouper:
    """Nodes with the same tag ``<tag_prefix><name>`` run together as ``name``.

    Args:
        tag_prefix: how group tags begin. Kedro 1 does not allow kedro-vertexai's default, ``group:``.
    """

    def __init__(self, tag_prefix: str = "group.") -> None:
        self._prefix = tag_prefix

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """Group nodes by their group tags.

        Raises:
            UserError: when a node has more than one group tag.
        """
        groups: Groups = {}
        for node in pipeline.nodes:
            tags = sorted(tag for tag in node.tags if tag.startswith(self._prefix))
            if len(tags) > 1:
                raise UserError(f"Node '{node.name}' has {len(tags)} group tags: {', '.join(tags)}. Keep one.")
            for tag in tags:
                groups.setdefault(tag.removeprefix(self._prefix), []).append(node)
        return groups


class NamespaceNodeGrouper:
    """Nodes of one top-level namespace run together."""

    def group(self, pipeline: Pipeline, _resources: ResourcesOf) -> Groups:
        """Group nodes as ``Pipeline.group_nodes_by("namespace")`` does."""
        nodes = {node.name: node for node in pipeline.nodes}
        return {group.name: [nodes[name] for name in group.nodes] for group in pipeline.group_nodes_by("namespace")}


class ChainNodeGrouper:
    """Straight chains of nodes with equal resources run together, because each step takes a minute to start."""

    def group(self, pipeline: Pipeline, resources: ResourcesOf) -> Groups:
        """Put a node into its parent's group, if it has no other parent and the parent has no other child."""
        parents = pipeline.node_dependencies
        children = Counter(parent for nodes in parents.values() for parent in nodes)
        chains: dict[Node, list[Node]] = {}  # keys are the last nodes of the chains
        for node in pipeline.nodes:
            (parent,) = parents[node] if len(parents[node]) == 1 else (None,)
            joins = parent in chains and children[parent] == 1 and resources(parent) == resources(node)
            chains[node] = [*chains.pop(parent), node] if joins and parent else [node]
        return {_chain_name(chain): chain for chain in chains.values()}


def group_nodes(
    pipeline: Pipeline,
    grouping: GroupingConfig,
    resources: ResourcesOf,
    order: Mapping[Node, Collection[Node]] | None = None,
) -> dict[str, tuple[list[Node], list[str]]]:
    """Cut a pipeline into groups, in an order in which they can run.

    Args:
        pipeline: the Kedro pipeline.
        grouping: ``run_config.grouping``.
        resources: returns the resources that a node asks for.
        order: node → nodes that must run before it although it takes nothing that they make.

    Returns:
        Group name → its nodes, and the groups that must run before it.

    Raises:
        UserError: when there is no such grouper, a node is in two groups, or groups wait for each other.
    """
    result: Mapping[str, Any] = _make_grouper(grouping).group(pipeline, resources)
    group_of: dict[Node, str] = {}
    for name, nodes in result.items():
        for node in nodes:
            if node in group_of:
                raise UserError(f"run_config.grouping: node '{node.name}' is in both '{group_of[node]}' and '{name}'.")
            group_of[node] = name
    parents = {node: {*nodes, *(order or {}).get(node, ())} for node, nodes in pipeline.node_dependencies.items()}
    if strangers := sorted(node.name for node in group_of if node not in parents):
        raise UserError(f"run_config.grouping: '{strangers[0]}' is in a group, but is not a node of the pipeline.")
    groups: Groups = {}
    for node in pipeline.nodes:  # Kedro lists them in an order in which they can run
        groups.setdefault(group_of.setdefault(node, node.name), []).append(node)
    upstream = {
        name: sorted({group_of[parent] for node in nodes for parent in parents[node]} - {name})
        for name, nodes in groups.items()
    }
    try:
        names = list(TopologicalSorter(upstream).static_order())
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        raise UserError(
            f"run_config.grouping: groups wait for each other: {cycle}. Move a node from one of them to another."
        ) from None
    return {name: (groups[name], upstream[name]) for name in names}


def _make_grouper(grouping: GroupingConfig) -> Any:
    """Make a grouper by its name here, its name in kedro-vertexai, or the path of the user's own class."""
    where = f"run_config.grouping.cls: {grouping.cls}"
    module, _, name = grouping.cls.rpartition(".")
    if module in ("", "kedro_vertexai.grouping"):
        groupers = {key: value for key, value in globals().items() if key.endswith("NodeGrouper")}
        if name not in groupers:
            raise UserError(f"{where}: there is no such grouper.{did_you_mean(name, groupers)}")
        cls = groupers[name]
    else:
        try:
            cls = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{where} cannot be imported ({error}).") from None
    try:
        return cls(**grouping.params)
    except TypeError as error:
        raise UserError(f"run_config.grouping.params: {grouping.cls} does not accept them ({error}).") from None


def _chain_name(chain: list[Node]) -> str:
    return chain[0].name if len(chain) == 1 else f"{chain[0].name}-to-{chain[-1].name}"
