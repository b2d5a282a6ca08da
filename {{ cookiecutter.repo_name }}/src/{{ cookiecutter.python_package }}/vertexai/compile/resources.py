"""``run_config``'s resources, node selectors and caching → what a step asks of the machine it runs on.

Most specific entry first, field by field: the group, the node, a tag of it, ``__default__``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kedro.pipeline.node import Node

from .config import RunConfig
from .errors import UserError

DEFAULT = "__default__"
_POWERS = "KMGTPE"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Resources:
    """What a step asks of the machine.

    Args:
        cpu: vCPUs, as Kubernetes writes them (``2``, ``500m``).
        memory: as Kubernetes writes it (``4Gi``).
        gpu: number of GPUs.
        gpu_type: Vertex AI's name of them, ``NVIDIA_L4``.
        retries: how often it is tried again.
        timeout: seconds after which it is stopped.
        image: container image, if not that of all.
    """

    cpu: str | None = None
    memory: str | None = None
    gpu: int | None = None
    gpu_type: str | None = None
    retries: int | None = None
    timeout: int | None = None
    image: str | None = None


def resources_of(node: Node, run_config: RunConfig) -> Resources:
    """What one node asks for.

    Raises:
        UserError: when two of its tags say different things.
    """
    return _resources([node.name], node, run_config)


def step_resources(name: str, nodes: Iterable[Node], run_config: RunConfig) -> Resources:
    """What a group of nodes asks for: an entry of its own name, else the most that one of its nodes asks for.

    Nodes of a group run one after the other, so their timeouts add up.

    Raises:
        UserError: when its nodes cannot share a machine.
    """
    asked = [_resources([name, node.name], node, run_config) for node in nodes]
    timeouts = [one.timeout for one in asked if one.timeout]
    own = run_config.resources.get(name)
    timeout = sum(timeouts) if len(timeouts) == len(asked) else None
    if own and own.timeout:
        timeout = timeouts[0]
    return Resources(
        cpu=max((one.cpu for one in asked if one.cpu), key=cores, default=None),
        memory=max((one.memory for one in asked if one.memory), key=bytes_, default=None),
        gpu=max((one.gpu for one in asked if one.gpu), default=None),
        gpu_type=_only(name, "GPU types", {one.gpu_type for one in asked if one.gpu}),
        retries=max((one.retries for one in asked if one.retries), default=None),
        timeout=timeout,
        image=_only(name, "images", {one.image for one in asked}),
    )


def is_cached(name: str, nodes: Iterable[Node], run_config: RunConfig, writes_catalog: bool) -> bool:
    """Whether a step's result is taken from an earlier run that had the same inputs.

    Args:
        name: the group's name.
        nodes: its nodes.
        run_config: ``run_config`` of ``vertexai.yml``.
        writes_catalog: whether it writes datasets of the catalog. Nothing would be written when it is skipped, so
            such a step is cached only when asked for by its own name.
    """
    entries = run_config.caching if isinstance(run_config.caching, Mapping) else {DEFAULT: run_config.caching}
    if name in entries:
        return entries[name]
    answers = [_most_specific([node.name], node, entries, "caching", lambda entry: entry) for node in nodes]
    if writes_catalog and not all(entries.get(node.name) for node in nodes):
        return False
    return all(answers)


def cores(quantity: str) -> Decimal:
    """``500m`` → 0.5"""
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


def bytes_(quantity: str) -> Decimal:
    """``4Gi`` → 4294967296"""
    number = quantity.rstrip("i" + _POWERS)
    unit = quantity[len(number) :]
    base = 1024 if unit.endswith("i") else 1000
    return Decimal(number) * (base ** (_POWERS.index(unit[0]) + 1) if unit else 1)


def _resources(names: list[str], node: Node, run_config: RunConfig) -> Resources:
    entries = run_config.resources

    def find(field: str) -> Any:
        return _most_specific(names, node, entries, f"resources…{field}", lambda entry: getattr(entry, field))

    selected = _most_specific(names, node, run_config.node_selectors, "node_selectors", lambda entry: entry.accelerator)
    timeout = find("timeout")
    gpu_type = find("gpu_type") or selected
    return Resources(
        cpu=find("cpu"),
        memory=find("memory"),
        # Who names a type wants one of it.
        gpu=find("gpu") if find("gpu") is not None else (1 if gpu_type else None),
        gpu_type=gpu_type,
        retries=find("retries"),
        timeout=_seconds(timeout) if timeout else None,
        image=find("image"),
    )


def _most_specific(names: list[str], node: Node, entries: Mapping[str, Any], what: str, get: Any) -> Any:
    """The value of the most specific entry that has one."""
    for name in names:
        if name in entries and (value := get(entries[name])) is not None:
            return value
    by_tag = {tag: value for tag in sorted(node.tags) if tag in entries and (value := get(entries[tag])) is not None}
    if len(set(by_tag.values())) > 1:
        said = ", ".join(f"{tag}: {value}" for tag, value in by_tag.items())
        raise UserError(
            f"run_config.{what}: tags of node '{node.name}' say different things ({said}). "
            f"Add an entry '{node.name}', which goes before its tags."
        )
    if by_tag:
        return next(iter(by_tag.values()))
    return get(entries[DEFAULT]) if DEFAULT in entries else None


def _only(group: str, what: str, found: set[str | None]) -> str | None:
    if len(found) > 1:
        raise UserError(
            f"run_config.resources: nodes of step '{group}' ask for different {what} "
            f"({', '.join(sorted(map(str, found)))}). Group them otherwise, or add an entry '{group}'."
        )
    return next(iter(found), None)


def _seconds(duration: str) -> int:
    """``90m`` → 5400"""
    number, unit = re.fullmatch(r"(\d+)([smh]?)", duration).groups()  # type: ignore[union-attr] # config saw to it
    return int(number) * _SECONDS[unit]
