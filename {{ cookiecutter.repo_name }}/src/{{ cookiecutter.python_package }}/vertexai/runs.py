"""The MLflow runs of pipeline jobs as the launcher sees them: found, and ended when the job could not do it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kedro.framework.session import KedroSession

from ..auth.errors import AuthorizationError
from . import tracking
from .errors import UserError
from .job import MlflowRun, PipelineJob


def settle(path: Path, env: str | None, job: PipelineJob) -> str | None:
    """End the MLflow run of an ended job, if it is still RUNNING.

    Args:
        path: the Kedro project.
        env: its configuration environment.
        job: the job, in one of its final states.

    Returns:
        The MLflow run status that it has now, or None if there was nothing to end.

    Raises:
        UserError: when MLflow does not answer.
    """
    with _mlflow(path, env):
        named = tracking.Job(job.name, "", job.resource_name)
        return tracking.settle(named, {"state": job.state, "error": {"message": job.error}})


def find(path: Path, env: str | None, names: Iterable[str]) -> dict[str, MlflowRun]:
    """Job name → its MLflow run; without the jobs that have none.

    Raises:
        UserError: when MLflow does not answer.
    """
    with _mlflow(path, env):
        return tracking.runs_of(names)


def ask(path: Path, env: str | None) -> str:
    """Ask MLflow for its experiments, as a step would.

    Returns:
        The tracking URI that answered.

    Raises:
        UserError: when MLflow does not answer, with its words.
    """
    with _mlflow(path, env):
        return tracking.ask()


@contextmanager
def _mlflow(path: Path, env: str | None) -> Iterator[None]:
    """MLflow as the steps have it: tracking URI, header provider, experiment."""
    # Somebody waits for this at a terminal; MLflow's own patience is minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    # What MLflow prints of a run it ends would stand between what the command prints.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        with KedroSession.create(path, env=env) as session:
            session.load_context()
            yield
    except (Exception, AuthorizationError) as error:
        raise UserError(f"MLflow does not answer: {error}") from None
