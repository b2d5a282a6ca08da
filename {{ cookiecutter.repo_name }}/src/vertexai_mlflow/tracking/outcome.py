"""How a job has ended, told by its run: what a message about it says."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import mlflow
from mlflow.entities import Run

from ..contract import names
from ..contract.arguments import JobArguments
from ..contract.job import JobIdentity, Outcome, State
from ..errors import shown
from . import find_run, message_of, run_url
from .description import resume_command
from .failures import failure_tags

# Runs of an experiment among which the job before this one is looked for.
_LOOKED_AT = 100


def outcome_of(job: JobIdentity, arguments: JobArguments, status: Mapping[str, Any], tracked: bool) -> Outcome:
    """Describe how a job has ended, when its run has ended as well. Without a run, the platform's message has to do.

    Args:
        job: the pipeline job.
        arguments: what its last task was told.
        status: see ``finish``.
        tracked: whether the job has a run.
    """
    run = None
    if tracked:
        with suppress(Exception):  # MLflow may be why the job has failed
            run = find_run(job)
    tags = dict(run.data.tags) if run else {}
    state = str(status["state"])
    if state == State.FAILED and not run:
        tags |= failure_tags(tags, message_of(status))
    tags.setdefault(names.JOB_NAME_TAG, job.name)
    tags.setdefault(names.JOB_URL_TAG, job.url)
    tags.setdefault(names.ENV_TAG, arguments.env)
    return Outcome(
        pipeline=tags.get(names.PIPELINE_TAG, arguments.pipeline),
        env=arguments.env,
        job=job.name,
        state=state,
        failed_node=tags.get(names.FAILED_NODE_TAG, "") if state == State.FAILED else "",
        error=shown(tags.get(names.ERROR_TAG, "")) if state == State.FAILED else "",
        job_url=job.url,
        run_url=run_url(run) if run else "",
        resume="" if state == State.SUCCEEDED else resume_command(tags),
        registered=tags.get(names.REGISTRY_TAG, ""),
        is_recovery=state == State.SUCCEEDED and run is not None and _follows_a_failure(run),
    )


def _follows_a_failure(run: Run) -> bool:
    """Whether the job before this one, of the same pipeline and environment, has ended without success."""
    tags = run.data.tags
    same = {tag: tags.get(tag, "") for tag in (names.PIPELINE_TAG, names.ENV_TAG)}
    quote = '"' if "'" in same[names.PIPELINE_TAG] else "'"
    earlier = mlflow.search_runs(
        [run.info.experiment_id],
        filter_string=(
            f"attributes.start_time < {run.info.start_time} AND attributes.status != 'RUNNING' "
            f"AND tags.{names.PIPELINE_TAG} = {quote}{same[names.PIPELINE_TAG]}{quote}"
        ),
        order_by=["attributes.start_time DESC"],
        max_results=_LOOKED_AT,
        output_format="list",
    )
    jobs = (item for item in earlier if names.JOB_NAME_TAG in item.data.tags)
    previous = next((job for job in jobs if all(job.data.tags.get(tag, "") == same[tag] for tag in same)), None)
    return previous is not None and previous.info.status in ("FAILED", "KILLED")
