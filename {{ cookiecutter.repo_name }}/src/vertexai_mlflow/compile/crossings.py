"""What stands in the way of data between steps, and what may not be what the user wants."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from ..contract.catalog import Entry
from .datasets import DataFlow, Makers, Step
from .raw import ONLY_BELOW_DATA, is_writable


class Finding(NamedTuple):
    """Something about a pipeline's data.

    Args:
        severity: whether it is ``impossible`` anywhere, a ``problem`` in the cloud only, or a ``warning``.
        sentence: what it is and what to do, in whole sentences.
    """

    severity: Literal["impossible", "problem", "warning"]
    sentence: str


def check_data(steps: Sequence[Step], makers: Makers, flow: DataFlow, at_exit: Iterable[str]) -> list[Finding]:
    """Find what cannot work, or may not.

    Args:
        steps: in an order in which they can run.
        makers: which of them makes what.
        flow: how data gets from one to another.
        at_exit: the datasets that ``on_exit_pipeline`` takes.

    Returns:
        The findings. A sentence may be about several steps or datasets, and is there once.
    """
    findings = [*_updates(makers, flow), *_places(makers), *_uploads(flow)]
    for step in steps:
        findings += [finding for dataset in step.inputs for finding in _crossing(dataset, makers, step)]
        findings += _unknown_classes(step, makers)
    for dataset in at_exit:
        findings += _exit(makers.entry(dataset), dataset, makers)
    return list(dict.fromkeys(findings))


def _updates(makers: Makers, flow: DataFlow) -> Iterator[Finding]:
    """Raw data that a step reads before it writes there itself."""
    for step, dataset, output in flow.updates:
        yield Finding(
            "warning",
            f"Step '{step.name}' reads dataset '{dataset}' at {makers.entry(dataset).path}, and then writes '{output}' "
            "there. The next job will again read what was uploaded or is in the image, not what this job writes. If "
            "jobs build on each other, give both a remote path, gs://…",
        )


def _places(makers: Makers) -> Iterator[Finding]:
    """Places where a step cannot write, or another one writes as well."""
    for dataset, maker in makers.steps.items():
        entry = makers.entry(dataset)
        others = {makers.steps[name].name for name in makers.made_at(entry)} - {maker.name}
        if others and entry.places:
            yield Finding(
                "problem",
                f"Step '{maker.name}' writes dataset '{dataset}' to {entry.path}, where step '{min(others)}' writes as "
                "well. Give each its own path, or let both run in one step (run_config.grouping).",
            )
        for place in entry.places:
            if not is_writable(place):
                yield Finding(
                    "problem",
                    f"Dataset '{dataset}' of step '{maker.name}' is written to {place}, but {ONLY_BELOW_DATA}",
                )


def _uploads(flow: DataFlow) -> Iterator[Finding]:
    """Uploaded data that a step cannot write to where its dataset reads it."""
    for raw in flow.raw:
        if raw.uploaded and not raw.can_be_fetched:
            yield Finding(
                "problem",
                f"Dataset '{raw.datasets[0]}' was uploaded and would be fetched to {raw.place}, but {ONLY_BELOW_DATA}",
            )


def _crossing(dataset: str, makers: Makers, step: Step) -> Iterator[Finding]:
    """An input of a step whose data does not get there from another step, or may not."""
    entry, maker = makers.entry(dataset), makers.of(dataset)
    if not maker or maker is step:
        return
    crosses = f"Dataset '{dataset}' is made in step '{maker.name}' and taken in step '{step.name}'"
    if entry.storage == "process":
        yield Finding(
            "impossible",
            f"{crosses}, but it is kept in the memory of one process ({entry.path or entry.database}). Keep it in a "
            "file (parquet), or run both nodes in one step (run_config.grouping).",
        )
    elif entry.storage == "database" or (entry.storage == "disk" and entry.database):
        yield Finding(
            "problem",
            f"{crosses}, but the database {entry.database} is a file on the disk of one container. Use a database "
            "server, or keep the table in a file (parquet), which is carried from step to step.",
        )
    elif entry.in_named_database:
        yield Finding(
            "warning",
            f"Dataset '{dataset}' crosses steps in a database that its credentials name. It must be one that every "
            "container reaches, and no file.",
        )
    elif entry.storage == "elsewhere" and entry.is_own_class and not entry.table and not entry.in_mlflow:
        yield Finding(
            "warning",
            f"{crosses}, and its entry names no place. {entry.type} must keep it where every container finds it: not "
            "in memory, and not on local disk, unless metadata.vertexai.paths names the files.",
        )
    if entry.storage == "memory" and entry.config.get("copy_mode") == "assign":
        yield Finding(
            "warning",
            f"{crosses}, with copy_mode: assign. What a node changes in place, the nodes of other steps do not see.",
        )


def _unknown_classes(step: Step, makers: Makers) -> Iterator[Finding]:
    """Classes of a step's datasets that could not be looked at."""
    for dataset in (*step.inputs, *step.outputs):
        if not (entry := makers.entry(dataset)).is_known:
            yield Finding(
                "warning",
                f"{entry.type} cannot be imported here, so its name and its entry decide how dataset '{dataset}' gets "
                "from step to step. Install what it needs here as well, to be sure.",
            )


def _exit(entry: Entry, dataset: str, makers: Makers) -> Iterator[Finding]:
    """A dataset of ``on_exit_pipeline`` that only another container has."""
    for name in makers.made_at(entry) if entry.places else ():
        maker = makers.steps[name].name
        yield Finding(
            "problem",
            f"on_exit_pipeline takes dataset '{dataset}' at {entry.path}, but only step '{maker}' has it on its disk. "
            "Give it a remote path, gs://…",
        )
