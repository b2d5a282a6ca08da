"""One MLflow run per pipeline job: started by the first task, found by every step, ended by the exit task.

``mlflow-start-run`` creates the run and tags it with the job's name, or finds it if the task is retried. A step finds
the run by that tag, makes it the active one, so that kedro-mlflow logs into it, and leaves it without changing its
status. ``mlflow-finish-run`` ends it, once. The run's id never passes through the pipeline spec, because no step would
then be cached.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from mlflow.entities import Param, Run, RunTag
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)
from mlflow.utils.rest_utils import http_request

from ..auth.secrets import LEFT_OUT, left_out
from ..contract import names
from ..contract.arguments import JobArguments
from ..contract.job import JobIdentity, MlflowRun, PipelineJob
from ..contract.spec import Spec, unpacked
from ..errors import AuthorizationError, UserError, masked
from .description import describe
from .failures import failure_tags
from .files import as_yaml, log_text
from .steps import as_tags, ended_steps, planned_steps, reused_steps

# The final state of a job, as KFP's PipelineTaskFinalStatus names it → MLflow's run status.
_RUN_STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}
# Otherwise MLflow's pages open in the view for generative AI, which does not show such a run.
_VIEW = "?workflowType=machine_learning"
# How many of them one request may log.
_MAX_METRICS = 1000
_MAX_PARAMS = 100
_MAX_TAGS = 100
# The tags that kedro-mlflow writes at the start of each step. Those of the second line are about that step alone.
_KEDRO_MLFLOW_TAGS = ("kedro_version", "pipeline_names", "run_id")
_OF_ONE_STEP = ("kedro_command", "load_versions", "node_names", "project_path", "runner")


@contextmanager
def connected(project: Path, env: str | None) -> Iterator[None]:
    """Configure MLflow on a laptop or in CI as in the steps: tracking URI, header provider, experiment.

    Args:
        project: root of the Kedro project.
        env: its configuration environment.

    Raises:
        UserError: when MLflow does not answer, also to requests in the body of the ``with`` statement.
    """
    # A person waits for this at a terminal, and by default MLflow retries for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    # Otherwise MLflow prints a line about each run that it ends, in the middle of the command's output.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        with KedroSession.create(project, env=env) as session:
            variables = dict(os.environ)
            with left_out():
                session.load_context()
            # kedro-mlflow exports the server's credentials. Of what is left out, the user's own variable counts.
            for name in [name for name, value in os.environ.items() if value == LEFT_OUT]:
                del os.environ[name]
                os.environ |= {name: variables[name]} if name in variables else {}
            yield
    except UserError:
        raise
    except (Exception, AuthorizationError) as error:
        raise UserError(f"MLflow does not answer: {error}") from error


def is_enabled(context: KedroContext, pipeline: str) -> bool:
    """Whether kedro-mlflow is installed, switched on, and not switched off for this pipeline in ``mlflow.yml``."""
    config = getattr(context, "mlflow", None)
    return config is not None and not set(pipeline.split(",")) <= set(config.tracking.disable_tracking.pipelines)


def start(
    job: JobIdentity,
    arguments: JobArguments,
    created: str,
    experiment: str,
    parameters: Mapping[str, Any],
    copied_params: Iterable[str] = (),
) -> str:
    """Create the job's run, or find it if this is a retry.

    Args:
        job: the pipeline job.
        arguments: what the first task is told about the job.
        created: when the job was created, RFC 3339.
        experiment: name of the MLflow experiment.
        parameters: the parameters that the pipeline takes, by name.
        copied_params: names of the MLflow params of the resumed job's run to copy too, with those below them.

    Returns:
        Where to look at the run.

    Raises:
        UserError: see ``check_version``.
    """
    check_version()
    run = find_run(job)
    if run is None:
        resumed = arguments.resumed
        earlier_job = JobIdentity(resumed["job"], resource_name=resumed["resource_name"]) if resumed else None
        earlier = find_run(earlier_job) if earlier_job else None
        spec = unpacked(arguments.spec)
        tags = _tags_at_start(job, arguments, spec, earlier)
        # Steps that start at the same moment would each insert such a tag first, and the database would refuse one.
        tags |= dict.fromkeys((*_KEDRO_MLFLOW_TAGS, names.LATEST_NODE_TAG), "") | tags_of_the_job(tags)
        tags |= as_tags(planned_steps(spec)) | as_tags(reused_steps(tags))
        tags[MLFLOW_RUN_NOTE] = describe(tags)
        # MLflow's function for this does not take the time at which the job began.
        run = mlflow.MlflowClient().create_run(
            mlflow.get_experiment_by_name(experiment).experiment_id,
            start_time=_milliseconds(created),
            tags=resolve_tags(tags),
            run_name=_run_name(job, arguments.pipeline, created),
        )
        if earlier:
            _copy(earlier, run, tuple(copied_params))
        log_text(run.info.run_id, masked(json.dumps(spec, indent=2)), names.SPEC_FILE)
        log_text(run.info.run_id, masked(as_yaml(parameters, arguments.hidden)), names.PARAMETERS_FILE)
    return run_url(run)


def _tags_at_start(job: JobIdentity, arguments: JobArguments, spec: Spec, earlier: Run | None) -> dict[str, str]:
    """What is known of a job when it starts, as tags of its run."""
    code = arguments.code
    selection = [f"{name.replace('_', ' ')} {', '.join(values)}" for name, values in arguments.selection.items()]
    tags = {
        names.JOB_NAME_TAG: job.name,
        names.JOB_ID_TAG: job.id,
        names.JOB_URL_TAG: job.url,
        names.PIPELINE_TAG: "; ".join([arguments.pipeline, *selection]),
        names.ENV_TAG: arguments.env,
        names.COMMAND_TAG: arguments.command,
        names.SCHEDULE_TAG: arguments.schedule,
        names.HIDDEN_TAG: json.dumps(arguments.hidden) if arguments.hidden else "",
        names.IMAGE_TAG: arguments.image if names.is_digest(arguments.image) else "",
        # MLflow would name the file by which Python was started.
        MLFLOW_SOURCE_NAME: arguments.repository or spec.get("pipelineInfo", {}).get("name", "kedro"),
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_GIT_REPO_URL: arguments.repository,
        MLFLOW_GIT_COMMIT: code["commit"] if code else os.environ.get(names.REVISION_VARIABLE, ""),
    }
    if code:
        tags[names.CODE_TAG] = code["uri"]
        tags[names.DIRTY_TAG] = str(code["dirty"]).lower() if code["commit"] else ""
    if earlier:
        tags |= {names.RESUMED_TAG: arguments.resumed["job"], names.RESUMED_RUN_TAG: earlier.info.run_id}
    for step in arguments.resumed.get("fingerprints", {}):
        name = names.REUSED_TAG + step
        tags[name] = (earlier.data.tags if earlier else {}).get(name, arguments.resumed["job"])
    return {name: value for name, value in tags.items() if value}


def _run_name(job: JobIdentity, pipeline: str, created: str) -> str:
    """A name that tells runs apart in MLflow's list, which cuts it: pipeline and time first, then the job's number."""
    return f"{pipeline} {created[:19].replace('T', ' ')} {job.name.rpartition('-')[2]}"


def _milliseconds(moment: str) -> int | None:
    """RFC 3339 → milliseconds since 1970; None if it is something else, and MLflow then takes this moment."""
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return None


@contextmanager
def active(job: JobIdentity) -> Iterator[Run]:
    """Make the job's run the active one, without changing its status.

    Raises:
        RuntimeError: when the job has no run.
    """
    run = find_run(job)
    if run is None:
        raise RuntimeError(f"No MLflow run has the tag {names.JOB_NAME_TAG}={job.name}; mlflow-start-run makes it.")
    mlflow.start_run(run_id=run.info.run_id)
    try:
        yield run
    finally:
        _detach()


def finish(job: JobIdentity, status: Mapping[str, Any], failed: Iterable[str] = ()) -> str | None:
    """End the job's run with the status of the job.

    Args:
        job: the pipeline job.
        status: KFP's PipelineTaskFinalStatus: ``state``, and on failure ``error.message``.
        failed: see ``failure_tags``.

    Returns:
        The MLflow run status, or None if the job has no run.
    """
    run = find_run(job)
    if run is None:
        return None
    run_id, tags = run.info.run_id, dict(run.data.tags)
    run_status = _RUN_STATUS.get(status["state"], "FAILED")
    changes = tags_of_the_job(tags)
    if run_status == "FAILED":
        changes |= failure_tags(tags, message_of(status), failed)
    elif run_status == "FINISHED":
        delete_tags(run, names.FAILED_NODE_TAG, names.ERROR_TAG)
        tags = {name: value for name, value in tags.items() if name not in (names.FAILED_NODE_TAG, names.ERROR_TAG)}
    changes |= as_tags(ended_steps(tags | changes, run_status))
    changes[MLFLOW_RUN_NOTE] = describe(tags | changes, status["state"])
    write_tags(run_id, changes)
    delete_tags(run, *(name for name, value in changes.items() if not value))
    mlflow.MlflowClient().set_terminated(run_id, run_status)
    return run_status


def settle(job: JobIdentity, state: str, error: str, failed: Iterable[str] = ()) -> str | None:
    """End the run of a job whose exit task could not do it.

    Args:
        job: the pipeline job.
        state: its final state: SUCCEEDED, FAILED or CANCELLED.
        error: why, in the platform's words.
        failed: names of the tasks that failed.

    Returns:
        The MLflow run status that it has now, or None if the job has no run, or one that had ended already.
    """
    run = find_run(job)
    status = {"state": state, "error": {"message": error}}
    return finish(job, status, failed) if run and run.info.status == "RUNNING" else None


def how_it_ended(job: JobIdentity, status: Mapping[str, Any], tracked: bool) -> dict[str, str]:
    """How a job ended, for the pipeline that runs at its end: name, url, state, failed_node, error, mlflow_run_id.

    Args:
        job: the pipeline job.
        status: see ``finish``.
        tracked: whether the job has a run, whose tags name the node that failed. Without a run, it is the task.
    """
    run = find_run(job) if tracked else None
    tags = run.data.tags if run else {}
    failure = {name: tags.get(name, "") for name in (names.FAILED_NODE_TAG, names.ERROR_TAG)}
    if status["state"] not in ("SUCCEEDED", "CANCELLED"):
        failure |= failure_tags(tags, message_of(status))
    return {
        "name": job.name, "url": job.url, "state": status["state"], **failure,
        "mlflow_run_id": run.info.run_id if run else "",
    }  # fmt: skip


def runs_of(jobs: Iterable[PipelineJob]) -> dict[str, MlflowRun]:
    """Find the runs of jobs, by job name. A job without a run is left out."""
    runs = {}
    for job in jobs:
        if run := find_run(job.identity):
            failed_node, error = (run.data.tags.get(tag, "") for tag in (names.FAILED_NODE_TAG, names.ERROR_TAG))
            runs[job.name] = MlflowRun(run.info.status, run_url(run), failed_node, error)
    return runs


def ask() -> str:
    """Send the tracking server a request that all its users are allowed to send.

    Returns:
        The tracking URI that answered, and the version of the server if it says that.

    Raises:
        UserError: see ``check_version``.
    """
    version = check_version()
    mlflow.search_experiments(max_results=1)
    return mlflow.get_tracking_uri() + (f" (MLflow {version})" if version else "")


def check_version() -> str:
    """Ask a tracking server which version it has. https://github.com/mlflow/mlflow/issues/16215

    Returns:
        The version; empty if the store is no server, or the server does not say.

    Raises:
        UserError: when its major version is another one than that of this client.
    """
    uri = mlflow.get_tracking_uri()
    if not uri.startswith("http"):
        return ""
    response = http_request(get_default_host_creds(uri), "/version", "GET", raise_on_status=False)
    version = response.text.strip() if response.status_code == 200 else ""
    if not (match := re.fullmatch(r"(\d+)\.\d+[\w.]*", version)):
        return ""
    if match[1] != mlflow.__version__.partition(".")[0]:
        raise UserError(
            f"The MLflow server at {masked(uri)} has version {version}, and this project logs with MLflow "
            f"{mlflow.__version__}. Both must have the same number in front: an MLflow 2 server, for example, refuses "
            "the model that a step has trained. Upgrade the server, or name another one in mlflow.yml: "
            "server.mlflow_tracking_uri."
        )
    return version


def tags_of_the_job(tags: Mapping[str, str]) -> dict[str, str]:
    """What stands for the whole job in those tags that kedro-mlflow fills anew for each step; empty if nothing does.

    Args:
        tags: the tags of the job's run.
    """
    return dict.fromkeys(_OF_ONE_STEP, "") | {"kedro_command": tags.get(names.COMMAND_TAG, "")}


def write_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags of a run, of which one request takes a hundred."""
    items = [RunTag(name, value) for name, value in tags.items()]
    for first in range(0, len(items), _MAX_TAGS):
        mlflow.MlflowClient().log_batch(run_id, tags=items[first : first + _MAX_TAGS])


def delete_tags(run: Run, *tags: str) -> None:
    """Delete those of these tags that a run has."""
    present = mlflow.get_run(run.info.run_id).data.tags
    for name in tags:
        if name in present:
            mlflow.MlflowClient().delete_tag(run.info.run_id, name)


def _copy(earlier: Run, run: Run, params: tuple[str, ...]) -> None:
    """Copy the metrics of a run with their history, and those of its params that are, or are below, these ones."""
    client = mlflow.MlflowClient()
    metrics = [point for name in earlier.data.metrics for point in client.get_metric_history(earlier.info.run_id, name)]
    prefixes = tuple(f"{name}." for name in params)
    copies = [Param(name, value) for name, value in earlier.data.params.items() if f"{name}.".startswith(prefixes)]
    for first in range(0, len(metrics), _MAX_METRICS):
        client.log_batch(run.info.run_id, metrics=metrics[first : first + _MAX_METRICS])
    for first in range(0, len(copies), _MAX_PARAMS):
        client.log_batch(run.info.run_id, params=copies[first : first + _MAX_PARAMS])


def message_of(status: Mapping[str, Any]) -> str:
    """The platform's error message in the final status of a job."""
    return str(status.get("error", {}).get("message", ""))


def find_run(job: JobIdentity) -> Run | None:
    """The run of a job, by its name and number. A job of another project or region may have the same name."""
    identifiers = {names.JOB_NAME_TAG: job.name, names.JOB_ID_TAG: job.id}
    for value in identifiers.values():
        if not re.fullmatch(r"[\w.-]*", value):
            raise UserError(f"{value!r} cannot be the name or number of a pipeline job.")
    filter_ = " AND ".join(f"tags.{tag} = '{value}'" for tag, value in identifiers.items() if value)
    # kedro-mlflow has set the experiment, and search_runs looks in that one.
    runs = mlflow.search_runs(filter_string=filter_, output_format="list")
    return next((run for run in runs if job.may_be_at(run.data.tags.get(names.JOB_URL_TAG, ""))), None)


def run_url(run: Run) -> str:
    """Where to look at a run: its page if the store is a server, otherwise the store and the run's id."""
    uri, page = masked(mlflow.get_tracking_uri()), f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}{_VIEW}"
    return f"{uri} run {run.info.run_id}. To see it: kedro mlflow ui, and http://127.0.0.1:5000/{page}{_VIEW}"


def _detach() -> None:
    """Leave the active run. It may be on the stack more than once, and MLflow would end it at exit."""
    while mlflow.active_run():
        mlflow.end_run("RUNNING")
