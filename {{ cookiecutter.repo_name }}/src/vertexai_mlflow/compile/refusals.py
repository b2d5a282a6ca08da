"""What is refused before there are steps: missing inputs, confirmations, parameters that would change nothing."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..contract.catalog import Catalog
from ..contract.names import EXIT_PARAMETER
from ..contract.params import by_name, leaves
from ..errors import UserError, did_you_mean
from .datasets import Lookup, base_name, datasets_in
from .raw import RawData

# How alike two names of one dictionary are, of which one must be a typo of the other; 1 is equal.
_TYPO = 0.8


def refuse_missing_inputs(
    name: str, pipeline: Pipeline, lookup: Lookup, hooks: Sequence[str] = (), whole: Pipeline | None = None
) -> list[str]:
    """Refuse a pipeline that takes what neither a node makes nor the catalog keeps.

    Args:
        name: its name, for the message.
        pipeline: the pipeline, or a part of it.
        lookup: what the catalog says about a dataset.
        hooks: what may add datasets to the catalog, in every step.
        whole: the whole pipeline, if that is a part of it.

    Returns:
        The datasets that such a hook must add, each in a whole sentence.

    Raises:
        UserError: naming every such dataset and a node that takes it.
    """
    problems, warnings = [], []
    left_out = {dataset: node for node in whole.nodes for dataset in node.outputs} if whole else {}
    lost: list[str] = []
    for dataset in datasets_in(sorted(pipeline.inputs())):
        if _is_kept(dataset, lookup):
            continue
        takers = sorted(node.name for node in pipeline.nodes if dataset in node.inputs)
        maker = f"node '{left_out[dataset].name}', which is left out," if dataset in left_out else "no node"
        sentence = (
            f"Dataset '{dataset}' (input of node '{takers[0]}' of pipeline '{name}') is made by {maker} and is not in "
            "the catalog"
        )
        if hooks:
            warnings.append(f"{sentence}, so a hook must add it in every step: {', '.join(hooks)}.")
        elif dataset in left_out:
            problems.append(f"{sentence}, so nothing keeps it.")
            lost.append(dataset)
        else:
            problems.append(f"{sentence}. Add it to conf/base/catalog.yml, or correct the node's input.")
    if lost:
        start = ",".join(sorted(_where_to_start(lost, left_out, lookup)))
        again = ",".join(sorted(node.name for node in pipeline.nodes if set(lost) & set(node.inputs)))
        problems.append(
            f"Start earlier: --from-nodes {start}. Or keep {' and '.join(lost)}: add it to conf/base/catalog.yml, and "
            f"let a run make it once. Or resume a job that has it: run-local --resume JOB --rerun {again}, on Vertex "
            f"AI: resume JOB --rerun {again}"
        )
    makers = {base_name(dataset): dataset for node in pipeline.nodes for dataset in node.outputs}
    for dataset in datasets_in(name for node in pipeline.nodes for name in node.inputs):
        maker = makers.get(base_name(dataset), dataset)
        for version in (maker, dataset) if maker != dataset else ():
            if not (entry := lookup(version)) or entry.storage == "memory":
                problems.append(
                    f"Dataset '{version}' of pipeline '{name}' is transcoded, so it must be kept where another "
                    f"dataset can read it: add it to conf/base/catalog.yml with the filepath of '{base_name(version)}'."
                )
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return warnings


def _is_kept(dataset: str, lookup: Lookup) -> bool:
    """Whether the catalog has a dataset that no node of a pipeline makes."""
    entry = lookup(dataset)
    return entry is not None and (entry.storage != "memory" or entry.has_value)


def _where_to_start(lost: Iterable[str], makers: Mapping[str, Node], lookup: Lookup) -> set[str]:
    """The last nodes from which all that is lost can be made, because what they take is kept."""
    starts, todo, seen = set(), list(lost), set(lost)
    while todo:
        maker = makers[todo.pop()]
        before = {name for name in maker.inputs if name in makers and not _is_kept(name, lookup)}
        if not before:
            starts.add(maker.name)
        todo += before - seen
        seen |= before
    return starts


def refuse_missing_parameters(
    name: str, pipeline: Pipeline, parameters: Mapping[str, Any], hooks: Sequence[str] = ()
) -> list[str]:
    """Refuse a pipeline that takes parameters which are not set.

    Args:
        name: its name, for the message.
        pipeline: the pipeline.
        parameters: the parameters, nested, with the objects that Kedro makes of some.
        hooks: what may add parameters, in every step.

    Returns:
        The parameters that such a hook must add, each in a whole sentence.

    Raises:
        UserError: naming every such parameter, a node that takes it, and the nearest one that there is.
    """
    stated, consumed = names_in(parameters) | {EXIT_PARAMETER}, parameters_in(pipeline.inputs())
    problems, warnings = [], []
    for parameter in sorted(consumed - stated - {""}):
        node = min(node.name for node in pipeline.nodes if f"params:{parameter}" in node.inputs)
        sentence = f"Parameter '{parameter}' (input of node '{node}' of pipeline '{name}') is in no parameters file"
        if hooks:
            warnings.append(f"{sentence}, so a hook must add it in every step: {', '.join(hooks)}.")
        else:
            problems.append(f"{sentence}.{did_you_mean(parameter, stated - {EXIT_PARAMETER})}")
    if problems:
        raise UserError("\n".join(problems))
    return warnings


def parameters_in(inputs: Iterable[str]) -> set[str]:
    """The parameters among the inputs of nodes; ``""`` stands for all of them."""
    names = {name.removeprefix("params:") for name in inputs if name.startswith("params:")}
    return names | ({""} if "parameters" in inputs else set())


def names_in(parameters: Mapping[str, Any]) -> set[str]:
    """The names that nodes may take parameters by: ``{"a": {"b": 1}}`` → ``a`` and ``a.b``"""
    return set(by_name(parameters)) - {""}


def refuse_confirms(nodes: Mapping[str, Sequence[Node]], lookup: Lookup, remote: bool) -> None:
    """Refuse a node that confirms what another step has read: it would confirm what has arrived in the meantime.

    Args:
        nodes: name of a group → its nodes.
        lookup: what the catalog says about a dataset.
        remote: whether steps run on disks of their own.

    Raises:
        UserError: naming node and dataset.
    """
    for group, group_nodes in nodes.items():
        for node in group_nodes:
            for dataset in node.confirms:
                readers = [
                    other.name for name, others in nodes.items() if name != group for other in others
                    if dataset in other.inputs
                ]  # fmt: skip
                if readers:
                    raise UserError(
                        f"Node '{node.name}' confirms dataset '{dataset}', which node '{readers[0]}' reads in another "
                        "step. Let the node that reads it confirm it, or group both nodes (run_config.grouping)."
                    )
                if remote and (entry := lookup(dataset)) and entry.storage == "disk":
                    raise UserError(
                        f"Node '{node.name}' confirms dataset '{dataset}', but its checkpoint would be written to "
                        f"{entry.path} on the container's disk and lost with it. Give it a remote path, gs://…"
                    )


def refuse_unknown_versions(load_versions: Mapping[str, str], catalog: Catalog, datasets: Iterable[str]) -> None:
    """Refuse to load a version of a dataset that the catalog does not have.

    Args:
        load_versions: dataset → version.
        catalog: the catalog.
        datasets: those that may be meant.

    Raises:
        UserError: naming each dataset and the nearest one that there is.
    """
    problems = [
        f"--load-versions {dataset}:{version}: the catalog has no dataset '{dataset}'."
        f"{did_you_mean(dataset, (name for name in datasets if catalog.entry(name)))}"
        for dataset, version in load_versions.items()
        if not catalog.written(dataset)
    ]
    if problems:
        raise UserError("\n".join(problems))


def refuse_lost_versions(load_versions: Mapping[str, str], raw_data: Iterable[RawData], project: Path) -> None:
    """Refuse to load a version that is on nobody's disk: another job kept it as an artifact of its own.

    Args:
        load_versions: dataset → version.
        raw_data: what the steps read and do not make, on disks of their own.
        project: the project's folder.

    Raises:
        UserError: naming each dataset and where its version belongs.
    """
    problems = []
    for raw in raw_data:
        for dataset in load_versions.keys() & set(raw.datasets):
            version, folder = load_versions[dataset], project / Path(raw.place).expanduser()
            if not (folder / version).exists() and (folder.exists() or not raw.uploaded):
                problems.append(
                    f"--load-versions {dataset}:{version}: there is no {raw.place}/{version} in this folder, and steps "
                    "have only what is in the image or was uploaded. The job that saved this version kept it as an "
                    f"artifact: copy it to {raw.place}/{version}, and upload it: kedro vertexai upload-data {dataset}"
                )
    if problems:
        raise UserError("\n".join(sorted(problems)))


def check_known(
    params: Mapping[str, Any], declared: Mapping[str, Any], consumed: set[str], used: set[str], pipeline: str
) -> None:
    """Refuse a runtime parameter that reaches nothing, or looks like a typo of one that does: it must not cost a run.

    A key that is new below a dictionary which a node takes reaches that node, as it does in ``kedro run``.

    Args:
        params: what the user passed, nested.
        declared: the parameters of ``parameters*.yml``, nested.
        consumed: dotted names of the parameters that nodes take; ``""`` stands for all of them.
        used: names that configuration files take by ``${runtime_params:…}``, and those that only hooks read.
        pipeline: its name, for the message.

    Raises:
        UserError: naming each such parameter and the nearest one that is used.
    """
    stated = names_in(declared)
    reachable = {name for name in stated if reaches(name, consumed)} | consumed - {""} | used
    problems = []
    for name, value in leaves(params):
        parent, dot, key = name.rpartition(".")
        siblings = [other.rpartition(".")[2] for other in stated if other.rpartition(".")[0] == parent]
        typo = get_close_matches(key, siblings, n=1, cutoff=_TYPO) if name not in reachable else []
        if typo or not reaches(name, consumed | used):
            hint = f" Did you mean '{parent}{dot}{typo[0]}'?" if typo else did_you_mean(name, reachable)
            problems.append(f"--params {name}={value}: no node of pipeline '{pipeline}' uses parameter '{name}'.{hint}")
    if problems:
        fix = "A parameter that only hooks read is named in run_config.hook_params. --allow-unused takes any."
        raise UserError("\n".join([*problems, fix]))


def reaches(name: str, consumed: Iterable[str]) -> bool:
    """Whether a node takes the parameter, a part of it, or something it is a part of."""
    return any(
        other in ("", name) or name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in consumed
    )
