"""A plan and an earlier job → the plan of a job that runs what the earlier one has not finished, and takes the rest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..contract.arguments import JobArguments, StepArguments
from ..contract.catalog import Entry
from ..contract.job import PipelineJob, State
from ..contract.names import INDEX_TYPE, START_TASK, importer_name, is_step
from ..contract.places import MODEL_SCHEMES, is_below, is_local
from ..contract.spec import tasks
from ..errors import UserError, did_you_mean
from .datasets import Artifact, Lookup, Step
from .fingerprint import changed_parts
from .plan import Plan, Reused

_FINISHED = (State.SUCCEEDED, State.SKIPPED)


def step_arguments_of(job: PipelineJob) -> dict[str, StepArguments]:
    """Step of a job → the arguments that its spec has for it."""
    containers = {task.name: task.container for task in tasks(job.spec) if task.container and is_step(task.name)}
    return {name: StepArguments.of(container.get("args", [])) for name, container in containers.items()}


def job_arguments_of(job: PipelineJob) -> JobArguments | None:
    """The arguments that the spec of a job has for its first task; None if it has no such task."""
    containers = [task.container for task in tasks(job.spec) if task.name == START_TASK]
    return JobArguments.of(containers[0].get("args", [])) if containers else None


def finished_steps(job: PipelineJob) -> list[str]:
    """The steps of which a job has a result, its own or one that it has taken; those can be resumed from."""
    start = job_arguments_of(job)
    reused_steps = start.resumed.get("fingerprints", {}) if start else {}
    states = {name: task.state for name, task in job.tasks.items()}
    return [*reused_steps, *(name for name in step_arguments_of(job) if states.get(name) in _FINISHED)]


def resume(plan: Plan, job: PipelineJob, rerun: Sequence[str], lookup: Lookup, root: str | None = None) -> Plan:
    """Plan a job that goes on where an earlier one has ended.

    Args:
        plan: the plan of the whole, with today's code.
        job: the earlier job, with its spec and its tasks.
        rerun: nodes whose steps run again although they have finished, and so all that follows them.
        lookup: what the catalog says about a dataset.
        root: ``run_config.root``.

    Returns:
        The plan without the steps whose results are taken, and with what is taken: ``reused``, and ``must_exist``.

    Raises:
        UserError: naming everything that keeps a result from being taken.
    """
    if not job.has_ended:
        raise UserError(f"Job {job.name} is {job.state}. Wait for its end, or cancel it.")
    nodes = {node for step in plan.steps for node in step.nodes}
    for node in rerun:
        if node not in nodes:
            raise UserError(f"--rerun {node}: there is no such node.{did_you_mean(node, nodes)}")
    earlier = _EarlierJob(job)
    running: dict[str, Step] = {}
    for step in plan.steps:
        if not earlier.has_finished(step) or set(rerun) & set(step.nodes) or running.keys() & set(step.after):
            running[step.name] = replace(step, after=tuple(name for name in step.after if name in running))
    if not running:
        raise UserError(f"Job {job.name} has finished all steps. To run some again, name the first: --rerun NODE")
    finished = [step for step in plan.steps if step.name not in running]
    makers = {dataset: step for step in finished for dataset in step.outputs}
    problems = [(step, change) for step in finished if (change := earlier.change_since(step))]
    reused: dict[str, Reused] = {}
    keys: dict[str, str] = {}
    # Step → the index of all that it has made; index → what is taken of that.
    indexes: dict[str, str] = {}
    members: dict[str, dict[str, None]] = {}
    must_exist: dict[str, str] = {}
    for step in running.values():
        for dataset in plan.artifact_inputs[step.name]:
            if dataset not in makers or not plan.artifacts[dataset].travels:
                continue
            maker, artifact = makers[dataset], plan.artifacts[dataset]
            index, output = earlier.artifact_of(dataset, maker, artifact.key)
            if output is None:
                problems.append((maker, f"dataset '{dataset}' was not handed on"))
                continue
            if not _may_be_taken(output["uri"], artifact, root, is_index=bool(index)):
                problems.append((maker, f"its dataset '{dataset}' is at {output['uri']}, outside of {root}"))
                continue
            keys[dataset] = artifact.key
            key, type_ = (index, INDEX_TYPE) if index else (artifact.key, artifact.type)
            reused[key] = Reused(key, type_, output["uri"], output.get("metadata") or {})
            if index:
                indexes[maker.name] = index
                members.setdefault(index, {})[artifact.key] = None
            if index or artifact.travels != "model":
                must_exist[output["uri"]] = maker.nodes[0]
        for dataset, entry in _read_from_the_catalog(step, plan, lookup).items():
            if dataset not in makers:
                continue
            if entry.path:
                must_exist[entry.path] = makers[dataset].nodes[0]
            else:
                problems.append((makers[dataset], f"dataset '{dataset}' may be another one by now"))
    if problems:
        raise UserError("\n".join(dict.fromkeys(earlier.refusal(step, why) for step, why in problems)))
    return replace(
        plan,
        steps=tuple(running.values()),
        raw=tuple(raw for raw in plan.raw if running.keys() & set(raw.steps)),
        reused=tuple(replace(one, members=tuple(members.get(one.key, ()))) for one in reused.values()),
        must_exist=must_exist,
        resumed={
            "job": job.name,
            "resource_name": job.resource_name,
            "nodes": [node for step in finished for node in step.nodes],
            "fingerprints": {step.name: step.fingerprint for step in finished},
            "keys": keys,
            **({"indexes": indexes} if indexes else {}),
        },
    )


def _may_be_taken(uri: str, artifact: Artifact, root: str | None, is_index: bool) -> bool:
    """Whether an artifact is where jobs of this environment keep them; the launcher opens no other address."""
    if artifact.travels == "model" and not is_index:
        return uri.startswith(MODEL_SCHEMES)
    home = artifact.uri if artifact.travels == "version" and not is_index else root
    return not home or is_local(home) or is_below(uri, home)


def _read_from_the_catalog(step: Step, plan: Plan, lookup: Lookup) -> dict[str, Entry]:
    """The datasets that a step reads where the catalog keeps them, and not as artifacts or from MLflow."""
    entries = {dataset: lookup(dataset) for dataset in step.inputs}
    travelling = {dataset for dataset, artifact in plan.artifacts.items() if artifact.travels}
    return {
        dataset: entry
        for dataset, entry in entries.items()
        if entry and dataset not in travelling and not entry.in_mlflow
    }


class _EarlierJob:
    """A job that has ended: what it has finished, itself or by taking results of a job before it."""

    def __init__(self, job: PipelineJob) -> None:
        self._job = job
        self._arguments = step_arguments_of(job)
        # What this job has taken of another one.
        start = job_arguments_of(job)
        self._resumed = start.resumed if start else {}

    def has_finished(self, step: Step) -> bool:
        """Whether the job has a result of the step."""
        task = self._job.tasks.get(step.name)
        return task.state in _FINISHED if task else step.name in self._resumed.get("fingerprints", {})

    def change_since(self, step: Step) -> str:
        """What has changed about a step since it has finished, or cannot be compared; empty if nothing has."""
        arguments = self._arguments.get(step.name)
        fingerprint = arguments.fingerprint if arguments else self._resumed["fingerprints"][step.name]
        if step.not_comparable:
            return step.not_comparable
        parts = changed_parts(fingerprint, step.fingerprint)
        if arguments and tuple(arguments.nodes) != step.nodes:
            parts = ["nodes"]
        return f"its {' and '.join(parts)} changed since" if parts else ""

    def artifact_of(self, dataset: str, maker: Step, key: str) -> tuple[str, dict[str, Any] | None]:
        """The artifact by which a finished step has handed a dataset on.

        Args:
            dataset: the dataset.
            maker: the step.
            key: the dataset's key in the job that resumes this one. An index has to have it under the same.

        Returns:
            The key of the index that the dataset is in, empty if it has an artifact of its own; and the artifact, None
            if it was not handed on.
        """
        if arguments := self._arguments.get(maker.name):
            keys = {**arguments.versions, **arguments.artifacts, **arguments.files, **arguments.models}
            own_key, index = keys.get(dataset, ""), arguments.index
            task, output = maker.name, index or own_key
        else:
            own_key = self._resumed["keys"].get(dataset, "")
            index = self._resumed.get("indexes", {}).get(maker.name, "")
            task, output = importer_name(index or own_key), "artifact"
        run = self._job.tasks.get(task)
        artifacts: dict[str, Any] = ((run and run.outputs) or {}).get("artifacts", {})
        is_listed = not index or own_key == key
        return index, artifacts.get(output) if is_listed else None

    def refusal(self, step: Step, why: str) -> str:
        """The sentence about a step whose result cannot be taken."""
        fix = f"Run it again: --rerun {step.nodes[0]}"
        return f"Step '{step.name}' has finished in job {self._job.name}, but {why}. {fix}"
