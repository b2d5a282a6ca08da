"""A plan and an earlier job → the plan of a job that runs what the earlier one has not finished, and takes the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...errors import UserError, did_you_mean
from ..contract import StepArguments
from ..contract.job import PipelineJob, State
from .datasets import Lookup, Step
from .fingerprint import changed_parts
from .plan import Plan, Reused
from .spec import tasks

_FINISHED = (State.SUCCEEDED, State.SKIPPED)


def told(job: PipelineJob) -> dict[str, StepArguments]:
    """Task of a job → what its spec tells it."""
    return {task.name: StepArguments.of(task.container["args"]) for task in tasks(job.spec) if task.container}


def resume(plan: Plan, job: PipelineJob, again: Sequence[str], lookup: Lookup) -> Plan:
    """Plan a job that goes on where an earlier one has ended.

    Args:
        plan: the plan of the whole, with today's code.
        job: the earlier job, with its spec and its tasks.
        again: nodes whose steps run again although they have finished, and so all that follows them.
        lookup: what the catalog says about a dataset.

    Returns:
        The plan without the steps whose results are taken, and with what is taken: ``reused``, and ``must_exist``.

    Raises:
        UserError: naming everything that keeps a result from being taken.
    """
    if not job.has_ended:
        raise UserError(f"Job {job.name} is {job.state}. Wait for its end, or cancel it.")
    known = {node for step in plan.steps for node in step.nodes}
    for node in again:
        if node not in known:
            raise UserError(f"--from {node}: there is no such node.{did_you_mean(node, known)}")
    running: dict[str, Step] = {}
    for step in plan.steps:
        finished = step.name in job.tasks and job.tasks[step.name].state in _FINISHED
        if not finished or set(again) & set(step.nodes) or running.keys() & set(step.after):
            running[step.name] = replace(step, after=tuple(name for name in step.after if name in running))
    if not running:
        raise UserError(f"Job {job.name} has finished all steps. To run some again, name the first: --from NODE")
    kept = [step for step in plan.steps if step.name not in running]
    found = _Found(plan, job, lookup)
    for step in kept:
        found.compare(step)
    for step in running.values():
        found.take(step, kept)
    if found.problems:
        raise UserError("\n".join(found.problems))
    return replace(
        plan,
        steps=tuple(running.values()),
        raw=tuple(raw for raw in plan.raw if running.keys() & set(raw.steps)),
        reused=found.reused,
        must_exist=tuple(found.must_exist),
        resumed={
            "job": job.name,
            "resource_name": job.resource_name,
            "nodes": [n for step in kept for n in step.nodes],
        },
    )


class _Found:
    """What is taken of an earlier job, and what keeps it from being taken."""

    def __init__(self, plan: Plan, job: PipelineJob, lookup: Lookup) -> None:
        self._plan, self._job, self._lookup = plan, job, lookup
        self._told = told(job)
        self.reused: dict[str, Reused] = {}
        self.must_exist: dict[str, None] = {}
        self.problems: dict[str, None] = {}

    def compare(self, step: Step) -> None:
        """Look whether a finished step is still what it was."""
        before = self._told[step.name]
        changed = (
            ["nodes"] if tuple(before.nodes) != step.nodes else changed_parts(before.fingerprint, step.fingerprint)
        )
        if changed:
            self._problem(step, f"its {' and '.join(changed)} changed since")

    def take(self, step: Step, kept: Iterable[Step]) -> None:
        """Take what a step needs of the steps that do not run again."""
        makers = {dataset: maker for maker in kept for dataset in maker.outputs}
        for dataset in self._plan.taken[step.name]:
            if dataset in makers and self._plan.artifacts[dataset].travels:
                self._take(dataset, makers[dataset])
        for dataset in step.inputs:
            entry = self._lookup(dataset)
            artifact = self._plan.artifacts.get(dataset)
            if dataset not in makers or (artifact and artifact.travels) or entry is None or entry.in_mlflow:
                continue
            if entry.path:
                self.must_exist[entry.path] = None
            else:
                self._problem(
                    makers[dataset], f"nobody can tell whether dataset '{dataset}' is still what it has written"
                )

    def _take(self, dataset: str, maker: Step) -> None:
        artifact, before = self._plan.artifacts[dataset], self._told[maker.name]
        key = {**before.artifacts, **before.files, **before.models}.get(dataset, "")
        made = (self._job.tasks[maker.name].outputs or {}).get("artifacts", {}).get(key)
        if made is None:
            self._problem(maker, f"dataset '{dataset}' was not handed on")
            return
        self.reused[artifact.key] = Reused(artifact.key, artifact.type, made["uri"], made.get("metadata") or {})
        if artifact.travels != "model":
            self.must_exist[made["uri"]] = None

    def _problem(self, step: Step, why: str) -> None:
        self.problems[
            f"Step '{step.name}' has finished in job {self._job.name}, but {why}. Run it again: --from {step.nodes[0]}"
        ] = None
