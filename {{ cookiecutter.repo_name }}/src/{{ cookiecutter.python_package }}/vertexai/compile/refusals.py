"""What is refused before there are steps: missing inputs, confirmations, parameters that would change nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ...errors import UserError, did_you_mean
from ..contract import leaves
from .datasets import Lookup, base_name, datasets_in


def refuse_missing_inputs(name: str, pipeline: Pipeline, lookup: Lookup) -> None:
    """Refuse a pipeline that takes what neither a node makes nor the catalog keeps.

    Raises:
        UserError: naming every such dataset and a node that takes it.
    """
    found = []
    for dataset in datasets_in(sorted(pipeline.inputs())):
        entry = lookup(dataset)
        if entry is None or not entry.persists:
            takers = sorted(node.name for node in pipeline.nodes if dataset in node.inputs)
            found.append(
                f"Dataset '{dataset}' (input of node '{takers[0]}' of pipeline '{name}') is made by no node and is "
                "not in the catalog. Add it to conf/base/catalog.yml, or correct the node's input."
            )
    made = {base_name(dataset): dataset for node in pipeline.nodes for dataset in node.outputs}
    for dataset in datasets_in(name for node in pipeline.nodes for name in node.inputs):
        maker = made.get(base_name(dataset), dataset)
        for version in (maker, dataset) if maker != dataset else ():
            if not (entry := lookup(version)) or not entry.persists:
                found.append(
                    f"Dataset '{version}' of pipeline '{name}' is transcoded, so it must be kept where another "
                    f"dataset can read it: add it to conf/base/catalog.yml with the filepath of '{base_name(version)}'."
                )
    if found:
        raise UserError("\n".join(dict.fromkeys(found)))


def refuse_confirms(nodes: Mapping[str, Sequence[Node]], lookup: Lookup, remote: bool) -> None:
    """Refuse a node that confirms what another step has read: it would confirm what has arrived in the meantime.

    Args:
        nodes: name of a group → its nodes.
        lookup: what the catalog says about a dataset.
        remote: whether steps run on disks of their own.

    Raises:
        UserError: naming node and dataset.
    """
    for group, own in nodes.items():
        for node in own:
            for dataset in node.confirms:
                others = [
                    other.name for name, theirs in nodes.items() if name != group for other in theirs
                    if dataset in other.inputs
                ]  # fmt: skip
                if others:
                    raise UserError(
                        f"Node '{node.name}' confirms dataset '{dataset}', which node '{others[0]}' reads in another "
                        "step. Let the node that reads it confirm it, or group both nodes (run_config.grouping)."
                    )
                if remote and (entry := lookup(dataset)) and entry.on_local_disk:
                    raise UserError(
                        f"Node '{node.name}' confirms dataset '{dataset}', but its checkpoint would be written to "
                        f"{entry.path} on the container's disk and lost with it. Give it a remote path, gs://…"
                    )


def check_known(
    params: Mapping[str, Any],
    declared: Mapping[str, Any],
    consumed: set[str],
    referenced: set[str],
    pipeline: str,
) -> None:
    """Refuse a runtime parameter that reaches neither a node nor a configuration file: a typo must not cost a run.

    Args:
        params: what the user passed, nested.
        declared: the parameters of ``parameters*.yml``, nested.
        consumed: dotted names of the parameters that nodes take; ``""`` stands for all of them.
        referenced: names that configuration files take by ``${runtime_params:…}``.
        pipeline: its name, for the message.

    Raises:
        UserError: naming the parameter and the nearest one that is used.
    """
    stated = dict(leaves(declared))
    names = {
        ".".join(parts[:end]) for parts in (name.split(".") for name in stated) for end in range(1, len(parts) + 1)
    }
    known = {name for name in names if _reaches_a_node(name, consumed)} | consumed - {""} | referenced
    open_ended = {name for name, value in stated.items() if value == {}}
    for name, value in leaves(params):
        if name not in known and name.rpartition(".")[0] not in open_ended:
            raise UserError(
                f"--params {name}={value}: no node of pipeline '{pipeline}' uses parameter '{name}'."
                + did_you_mean(name, known)
            )


def _reaches_a_node(name: str, consumed: set[str]) -> bool:
    """Whether a node takes the parameter, a part of it, or something it is a part of."""
    return any(
        taken in ("", name) or name.startswith(f"{taken}.") or taken.startswith(f"{name}.") for taken in consumed
    )
