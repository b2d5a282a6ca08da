"""The part of doctor that runs in a container: checks that only a step can make.

The task succeeds even if a check fails, because the platform keeps no outputs of a failed task.
"""

import os
import platform as python
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import mlflow
from mlflow.entities import LoggedModelOutput, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking.request_header.registry import resolve_request_headers

from .. import tracking
from ..auth.credentials import DefaultCredentialsError, whoami
from ..contract import names
from ..contract.arguments import TaskArguments
from ..contract.check import Doubt, check
from ..contract.places import MOUNT, is_local
from ..errors import AuthorizationError, UserError
from ..tracking.failures import refusal
from .io import StepIO
from .runner import StepSession

# Bytes that are more than Cloud Run takes in one request of HTTP/1. https://github.com/zhaofengli/attic/issues/122
_LARGE = 33 * 2**20
_JOB_FIELDS = ("job_name", "job_id", "job_resource_name", "job_created")


def run_checks(args: TaskArguments, io: StepIO, platform: Namespace) -> dict[str, Any]:
    """Check everything that a step needs.

    Returns:
        ``checks``, as dictionaries, and the ``revision`` that the image was built from.
    """
    probe = io.uri(names.PROBE)
    job = {name: getattr(platform, name) for name in _JOB_FIELDS}
    account = check("access token", _access_token)
    account_name = account.message if account.ok and not account.doubtful else "the account of the steps"
    checks = [
        check("started", lambda: seconds_since_creation(platform.job_created)),
        check("user", lambda: f"{os.getuid()}:{os.getgid()}, Python {python.python_version()}, {python.machine()}"),
        check("placeholders", lambda: _placeholders({**job, "output_file": io.output_file, "artifact": probe})),
        check("mount", lambda: _mount(io.output_file)),
        account,
        check("bucket", lambda: write_to_bucket(probe, account_name)),
    ]
    # This comes before the ID token, because its session configures the header provider, even if MLflow then refuses.
    mlflow_check = check("MLflow", lambda: _mlflow(args))
    checks += [check("ID token", _header), mlflow_check]
    revision = os.environ.get(names.REVISION_VARIABLE, "")
    return {"checks": [asdict(line) for line in checks], "revision": revision}


def seconds_since_creation(job_created: str) -> str:
    """How long ago that was. Vertex AI documents no format for this time, and another one is no reason to fail."""
    try:
        created = datetime(*map(int, re.findall(r"\d+", job_created)[:6]), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except (TypeError, ValueError):
        raise Doubt(
            f"The platform says that the job was created at {job_created!r}, which is no time that is known here. "
            "Versions of datasets begin with it, and may not be sorted by time."
        ) from None
    wait = datetime.now(UTC) - created
    return f"{wait.total_seconds():.0f} s after the job was created"


def _placeholders(values: Mapping[str, str]) -> str:
    text = ", ".join(f"{name} {value}" for name, value in values.items())
    if "{{$" in text:
        raise UserError(f"The platform did not replace a placeholder: {text}")
    return text


def _mount(output_file: str) -> str:
    if not output_file.startswith(MOUNT):
        return "this platform uses no path below /gcs"
    trial = Path(f"{output_file}.trial")
    try:
        Path("/gcs").stat()  # without the mount, root could create a folder of this name
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise Doubt(f"/gcs is not writable ({error.strerror}); steps write to gs:// instead.") from None
    return "/gcs is writable"


def _access_token() -> str:
    try:
        return whoami()
    except DefaultCredentialsError:
        raise Doubt("There are no Google credentials here. A step on Vertex AI has some.") from None


def write_to_bucket(probe: str, account: str) -> str:
    """Write to the artifact's URI as a step does: first under a temporary name."""
    fs, path = fsspec.url_to_fs(probe)
    trial, permission = f"{path}.trial", "storage.objects.create"
    try:
        if is_local(probe):
            fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(trial, b"doctor")
        permission = "storage.objects.delete"  # renaming is copying, and deleting the old name
        fs.mv(trial, path)
        fs.rm(path)
    except Exception as error:  # the libraries for buckets have no common base class of errors
        raise UserError(
            f"{probe} cannot be written, renamed and deleted. Grant {account} roles/storage.objectUser on the bucket: "
            f"it lacks {permission}. ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from None
    return f"{probe} can be written, renamed and deleted"


def _header() -> str:
    names = [name for name in resolve_request_headers() if name.lower().endswith("authorization")]
    if not names:
        return "mlflow.yml names no provider that needs one"
    return f"obtained; sent to MLflow in the header {', '.join(names)}"


def _mlflow(args: TaskArguments) -> str:
    """Use MLflow as steps do: start a run, log a metric, a file and a model, end the run; then delete them."""
    try:
        with StepSession.create(Path.cwd(), env=args.env or None, conf_source=args.conf_source or None) as session:
            if not tracking.is_enabled(session.load_context(), args.pipeline):
                return "tracking is switched off"
            tracking.check_version()
            with mlflow.start_run(run_name=names.DOCTOR_TASK) as run:
                mlflow.log_metric("doctor", 1.0)
                mlflow.log_text("doctor", "doctor.txt")
                _log_model(run)
                limit = _find_limit(run)
            mlflow.MlflowClient().delete_run(run.info.run_id)
    except (Exception, AuthorizationError) as error:
        raise UserError(refusal(str(error), error)) from None
    accepted = (
        f"{mlflow.get_tracking_uri()} accepts runs, metrics, files and models; a deleted run with doctor.txt remains"
    )
    if limit:
        raise Doubt(f"{accepted}. {limit}")
    return accepted


def _find_limit(run: Run) -> str:
    """Upload a file that is larger than what Cloud Run takes in one request, and delete it.

    Returns:
        What to set up if a server refuses it; empty if there is no limit, or the store is no server.
    """
    if not mlflow.get_tracking_uri().startswith("http"):
        return ""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "doctor.bin"
        with file.open("wb") as content:
            content.truncate(_LARGE)
        try:
            mlflow.log_artifact(str(file))
        except Exception as error:  # the libraries for artifact stores have no common base class of errors
            if "413" not in str(error):
                raise
            return (
                f"But it refuses a file of {_LARGE // 2**20} MiB in one request (413), and MLflow sends a model's file "
                "in one. That is Cloud Run's limit for HTTP/1. Let the steps write artifacts to the bucket themselves "
                "(mlflow server --no-serve-artifacts --default-artifact-root gs://…), or run the server elsewhere."
            )
    get_artifact_repository(run.info.artifact_uri).delete_artifacts(file.name)
    return ""


def _log_model(run: Run) -> None:
    """Log a model without anything in it, as what logs a model does, and delete it."""
    client = mlflow.MlflowClient()
    model = client.create_logged_model(run.info.experiment_id, names.DOCTOR_TASK, run.info.run_id)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    client.delete_logged_model(model.model_id)
