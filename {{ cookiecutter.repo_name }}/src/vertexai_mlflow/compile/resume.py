"""A plan and an earlier job → the plan of a job that runs what the earlier one has not finished, and takes the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..contract import START_TASK, importer_name
from ..contract.arguments import StepArguments
from ..contract.job import PipelineJob, State
from ..errors import UserError, did_you_mean
from .datasets import Lookup, Step
from .fingerprint import changed_parts
from .plan import Plan, Reused
from .spec import tasks

_FINISHED = (State.SUCCEEDED, State.SKIPPED)


def told(job: PipelineJob) -> dict[str, StepArguments]:
    """Task of a job → what its spec tells it."""
    return {task.name: StepArguments.of(task.container.get("args", [])) for task in tasks(job.spec) if task.container}


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
    found = _Found(plan, job, lookup)
    running: dict[str, Step] = {}
    for step in plan.steps:
        if not found.has_finished(step) or set(again) & set(step.nodes) or running.keys() & set(step.after):
            running[step.name] = replace(step, after=tuple(name for name in step.after if name in running))
    if not running:
        raise UserError(f"Job {job.name} has finished all steps. To run some again, name the first: --from NODE")
    kept = [step for step in plan.steps if step.name not in running]
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
        reused=tuple(found.reused.values()),
        must_exist=found.must_exist,
        resumed={
            "job": job.name,
            "resource_name": job.resource_name,
            "nodes": [node for step in kept for node in step.nodes],
            "fingerprints": {step.name: step.fingerprint for step in kept},
            "keys": {dataset: reused.key for dataset, reused in found.reused.items()},
        },
    )


class _Found:
    """What is taken of an earlier job, and what keeps it from being taken."""

    def __init__(self, plan: Plan, job: PipelineJob, lookup: Lookup) -> None:
        self._plan, self._job, self._lookup = plan, job, lookup
        self._told = told(job)
        # The job may itself have taken results of another one.
        self._taken = self._told[START_TASK].resumed
        self.reused: dict[str, Reused] = {}
        self.must_exist: dict[str, str] = {}
        self.problems: dict[str, None] = {}

    def has_finished(self, step: Step) -> bool:
        """Whether the job has a result of the step, be it from another job."""
        run = self._job.tasks.get(step.name)
        return run.state in _FINISHED if run else step.name in self._taken.get("fingerprints", {})

    def compare(self, step: Step) -> None:
        """Look whether a finished step is still what it was."""
        before = self._told.get(step.name)
        fingerprint = before.fingerprint if before else self._taken["fingerprints"][step.name]
        changed = changed_parts(fingerprint, step.fingerprint)
        if before and tuple(before.nodes) != step.nodes:
            changed = ["nodes"]
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
                self.must_exist[entry.path] = makers[dataset].nodes[0]
            else:
                self._problem(makers[dataset], f"dataset '{dataset}' may be another one by now")

    def _take(self, dataset: str, maker: Step) -> None:
        artifact, before = self._plan.artifacts[dataset], self._told.get(maker.name)
        if before:
            task, key = maker.name, {**before.artifacts, **before.files, **before.models}.get(dataset, "")
        else:
            task, key = importer_name(self._taken["keys"].get(dataset, "")), "artifact"
        run = self._job.tasks.get(task)
        made = ((run and run.outputs) or {}).get("artifacts", {}).get(key)
        if made is None:
            self._problem(maker, f"dataset '{dataset}' was not handed on")
            return
        self.reused[dataset] = Reused(artifact.key, artifact.type, made["uri"], made.get("metadata") or {})
        if artifact.travels != "model":
            self.must_exist[made["uri"]] = maker.nodes[0]

    def _problem(self, step: Step, why: str) -> None:
        self.problems[
            f"Step '{step.name}' has finished in job {self._job.name}, but {why}. Run it again: --from {step.nodes[0]}"
        ] = None
