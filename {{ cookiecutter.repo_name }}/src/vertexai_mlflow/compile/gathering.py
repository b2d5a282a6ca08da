"""Plan → by which artifacts data gets from step to step where one for each dataset would not fit into an argument.

A task is told about its artifacts in one argument, which Linux allows 128 KiB. What is more goes by an index: one
artifact that stands for many. A step that makes very many writes one of its own. Before a step that takes very many,
gathering tasks write one for each hundred, whichever steps these are from; they run no nodes. The datasets' files and
hashes stay what they are, and are told in the index instead of the executor input.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..contract import limits
from ..contract.names import INDEX_TYPE, gathering_names, made_index
from ..errors import UserError
from .datasets import Artifact, Step
from .importers import describe
from .plan import Plan
from .raw import RawData

# Bytes that one artifact takes in the executor input, besides its key (which is written there three times) and its own
# metadata: name, type, URI, and what a step finds out. Vertex AI's names and URIs are longer than this machine's.
_ARTIFACT_SIZE = 400
_REMOTE_ARTIFACT_SIZE = 700
# What the metadata of an index takes.
_INDEX_METADATA = 250


@dataclass(frozen=True)
class Gathering:
    """A task that writes an index.

    Args:
        task: its name.
        index: key of the artifact that it makes.
        members: keys of the artifacts that it takes.
    """

    task: str
    index: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Delivery:
    """The artifacts of a job: which there are, and which of them each task takes and makes.

    Args:
        types: key of an artifact → its type.
        indexes: keys of those that stand for others.
        inputs: name of a step → keys of the artifacts that it takes.
        outputs: name of a step → keys of the artifacts that it makes.
        gatherings: name of a step → the gathering tasks that come right before it, in an order in which they can run.
    """

    types: dict[str, str] = field(default_factory=dict)
    indexes: set[str] = field(default_factory=set)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gatherings: dict[str, list[Gathering]] = field(default_factory=dict)


def fetched_by(plan: Plan, step: Step) -> list[RawData]:
    """The uploaded files and folders that a step reads."""
    return [raw for raw in plan.raw if raw.uploaded and step.name in raw.steps]


def deliver(plan: Plan, parameters: int, is_remote: bool) -> Delivery:
    """Choose the artifacts of a job.

    Args:
        plan: its steps.
        parameters: bytes that the parameters take in each executor input.
        is_remote: whether artifacts have the long names of Vertex AI.

    Raises:
        UserError: when the parameters leave no room for them.
    """
    delivery = Delivery()
    sizes = _Sizes(delivery, _REMOTE_ARTIFACT_SIZE if is_remote else _ARTIFACT_SIZE)
    for artifact in plan.artifacts.values():
        sizes.add(artifact.key, artifact.type, _metadata_size(artifact))
    for raw in plan.raw:
        sizes.add(raw.key, raw.type, len(json.dumps(describe(raw))))
    # Key of an artifact → the index that stands for it. A step comes after those that make what it takes.
    listed: dict[str, str] = {}
    for reused in plan.reused:
        if reused.members:
            sizes.add_index(reused.key)
            listed |= dict.fromkeys(reused.members, reused.key)
    gathered: set[str] = set()
    for step in plan.steps:
        most = limits.MAX_ESCAPED_INPUT if step.resources.is_custom_job else limits.MAX_ARGUMENT
        room = min(limits.MAX_ARTIFACTS, most - parameters)
        keys = [*_keys(plan, plan.artifact_inputs[step.name]), *(raw.key for raw in fetched_by(plan, step))]
        # In the order of the plan, so that steps that take the same share their gathering tasks.
        inputs = sorted({listed.get(key, key) for key in keys}, key=sizes.rank)
        outputs = _keys(plan, step.outputs)
        if sizes.of([*inputs, *outputs]) > room and sizes.of(outputs) > room // 2:
            index = made_index(step.name)
            sizes.add_index(index)
            listed |= dict.fromkeys(outputs, index)
            outputs = [index]
        gatherings: dict[str, Gathering] = {}
        while sizes.of([*inputs, *outputs]) > room and len(chunks := list(sizes.chunks(inputs))) < len(inputs):
            inputs = []
            for chunk in chunks:
                task, index = gathering_names(chunk)
                if len(chunk) > 1:
                    sizes.add_index(index)
                    gatherings[index] = Gathering(task, index, chunk)
                inputs.append(index if len(chunk) > 1 else chunk[0])
        if sizes.of([*inputs, *outputs]) > room:
            raise UserError(
                f"Step '{step.name}': its parameters take {parameters // 1024} KiB, and what it is told about its "
                f"datasets {sizes.of([*inputs, *outputs]) / 1024:.1f} KiB. That does not fit into an argument, which "
                f"has {most // 1024} KiB for both. Put large values into parameters.yml or into a dataset."
            )
        delivery.inputs[step.name], delivery.outputs[step.name] = tuple(inputs), tuple(outputs)
        delivery.gatherings[step.name] = [one for index, one in gatherings.items() if index not in gathered]
        gathered |= gatherings.keys()
    return delivery


class _Sizes:
    """What each artifact of a delivery takes in an executor input, in bytes."""

    def __init__(self, delivery: Delivery, each: int) -> None:
        self._delivery, self._each = delivery, each
        self._sizes: dict[str, int] = {}
        self._ranks: dict[str, int] = {}

    def add(self, key: str, type_: str, metadata: int) -> None:
        """Add an artifact to the delivery."""
        self._delivery.types[key] = type_
        self._sizes[key] = self._each + 3 * len(key) + min(metadata, limits.MAX_METADATA)
        self._ranks.setdefault(key, len(self._ranks))

    def add_index(self, key: str) -> None:
        """Add an artifact that stands for others."""
        self._delivery.indexes.add(key)
        self.add(key, INDEX_TYPE, _INDEX_METADATA)

    def of(self, keys: Iterable[str]) -> int:
        """What they take together."""
        return sum(self._sizes[key] for key in keys)

    def rank(self, key: str) -> int:
        """When it was added."""
        return self._ranks[key]

    def chunks(self, keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Cut a list of artifacts so that one task can take each part."""
        first = 0
        for last in range(1, len(keys) + 1):
            part = keys[first : last + 1]
            is_full = len(part) > limits.MAX_GATHERED or self.of(part) > limits.MAX_ARTIFACTS
            if is_full or last == len(keys):
                yield tuple(keys[first:last])
                first = last


def _keys(plan: Plan, datasets: Iterable[str]) -> list[str]:
    return [plan.artifacts[name].key for name in datasets if name in plan.artifacts]


def _metadata_size(artifact: Artifact) -> int:
    return limits.MAX_METADATA if artifact.is_metrics else len(json.dumps(dict(artifact.metadata)))
