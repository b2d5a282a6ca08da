"""A run's description, which MLflow shows on its page: the story of the job in Markdown, made of its tags."""

import logging
from collections import Counter
from collections.abc import Mapping

import mlflow
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_RUN_NOTE,
)

from ..contract import names
from ..contract.job import State
from ..markdown import as_cell, as_code, as_line, as_link, as_table
from .steps import StepRecord, step_records

_LOG = logging.getLogger(__name__)
# A tag is cut after 8,000 characters without a word.
_LIMIT = 7500
# How often a step looks again whether another one has ended in the meantime.
_ROUNDS = 10
_HEADER = ("step", "state", "started (UTC)", "seconds", "attempts", "machine", "node")


def update_description(run_id: str) -> None:
    """Write the description of a running job's run, so that it has what all steps have written until now.

    Two steps that end at once may each miss the other's tag. Each looks again after it has written, so that the last
    one to look finds both. A description that cannot be written is no reason to fail.
    """
    client = mlflow.MlflowClient()
    try:
        for _ in range(_ROUNDS):
            run = client.get_run(run_id)
            text = describe(run.data.tags)
            # The last task has the last word, also over a step that was too late.
            if run.info.status != "RUNNING" or run.data.tags.get(MLFLOW_RUN_NOTE) == text:
                return
            client.set_tag(run_id, MLFLOW_RUN_NOTE, text)
    except Exception as error:
        _LOG.warning("The description of the MLflow run could not be written: %s", as_line(str(error)))


def describe(tags: Mapping[str, str], state: str = State.RUNNING) -> str:
    """Tell the story of a job.

    Args:
        tags: the tags of its run.
        state: how it stands.

    Returns:
        Markdown of at most 7,500 characters. Of many steps, those that have failed or run come first, and the others
        are counted.
    """
    records = step_records(tags)
    head = [" · ".join([f"**{as_line(state)}**", *_what_ran(tags)]), _failure(tags)]
    if state in (State.FAILED, State.CANCELLED):
        head.append(f"To go on from there: {as_code(resume_command(tags))}")
    if registered := tags.get(names.REGISTRY_TAG):
        head.append(f"Registered model: {as_cell(registered)}")
    head.append(" · ".join(_links(tags)))
    if command := tags.get(names.COMMAND_TAG):
        head.append(f"Launched by {as_code(command)}")
    text = "\n\n".join(part for part in head if part)
    return f"{text}\n\n{_table_of(records, _LIMIT - len(text) - 2)}"[:_LIMIT].strip()


def resume_command(tags: Mapping[str, str]) -> str:
    """The command that runs what a job has not finished."""
    environment = f" -e {env}" if (env := tags.get(names.ENV_TAG)) else ""
    job, url = tags.get(names.JOB_NAME_TAG, ""), tags.get(names.JOB_URL_TAG, "")
    if not url.startswith("http"):
        return f"kedro vertexai{environment} run-local --resume {job}"
    return f"kedro vertexai{environment} resume {job}{' --upload-code' if names.CODE_TAG in tags else ''}"


def _what_ran(tags: Mapping[str, str]) -> list[str]:
    schedule = tags.get(names.SCHEDULE_TAG)
    return [
        f"pipeline {as_code(tags.get(names.PIPELINE_TAG, ''))}",
        *([f"environment {as_code(env)}"] if (env := tags.get(names.ENV_TAG)) else []),
        *([f"schedule {as_code(schedule)}"] if schedule else []),
    ]


def _links(tags: Mapping[str, str]) -> list[str]:
    job, url = tags.get(names.JOB_NAME_TAG, ""), tags.get(names.JOB_URL_TAG, "")
    links = [as_link(f"Vertex AI job {job}", url) if url.startswith("http") else f"run-local, job {as_cell(job)}"]
    if commit := tags.get(MLFLOW_GIT_COMMIT):
        links.append(as_link(f"commit {commit[:10]}", commit_url(tags.get(MLFLOW_GIT_REPO_URL, ""), commit)))
    if tags.get(names.CODE_TAG):
        links.append("uploaded code" + (" with changes" if tags.get(names.DIRTY_TAG) == "true" else ""))
    if image := tags.get(names.IMAGE_TAG):
        links.append(f"image {as_code(image)}")
    if resumed := tags.get(names.RESUMED_TAG):
        links.append(f"resumes {as_cell(resumed)}, MLflow run {as_code(tags.get(names.RESUMED_RUN_TAG, ''))}")
    return links


def commit_url(repository: str, commit: str) -> str:
    """The page of a commit; empty if the repository has no page."""
    if not repository.startswith("http"):
        return ""
    return f"{repository.removesuffix('.git')}/{'-/' if 'gitlab' in repository else ''}commit/{commit}"


def _failure(tags: Mapping[str, str]) -> str:
    node, error = (as_cell(tags.get(name, "")) for name in (names.FAILED_NODE_TAG, names.ERROR_TAG))
    return f"Node **{node}** failed: {error}" if node else error


def _table_of(records: list[StepRecord], room: int) -> str:
    """The table of the steps, as many of them as there is room for."""
    rows = {record: _row(record) for record in records}
    if len(table := as_table(_HEADER, rows.values())) <= room:
        return table if records else ""
    urgent = sorted(records, key=lambda record: (not record.is_unended, record.state == State.PENDING, record.number))
    rest = Counter(record.state for record in records)
    shown: list[StepRecord] = []
    table = ""
    for record in urgent:
        rest[record.state] -= 1
        shown = [*shown, record]
        counts = ", ".join(f"{count} {state}" for state, count in sorted(rest.items()) if count)
        last = f"\n\n… and {counts}. All steps: artifact {as_code(names.PAGE_FILE)}."
        ordered = sorted(shown, key=lambda record: record.number)
        longer = as_table(_HEADER, (rows[record] for record in ordered)) + last
        if len(longer) > room:
            break
        table = longer
    return table


def _row(record: StepRecord) -> tuple[str, ...]:
    state = record.state
    if record.origin:
        state = f"taken from {as_cell(record.origin)}"
    elif record.state == State.FAILED:
        state = f"**FAILED** {as_cell(record.error, 200)}".strip()
    seconds = f"{record.seconds:.1f}" if record.seconds else ""
    started = record.started[:19].replace("T", " ")
    attempts = str(record.attempts or "")
    nodes = record.nodes if not record.node or record.node == record.nodes else f"{record.nodes} (at {record.node})"
    return (as_cell(record.task), state, started, seconds, attempts, as_cell(record.machine), as_cell(nodes, 200))
