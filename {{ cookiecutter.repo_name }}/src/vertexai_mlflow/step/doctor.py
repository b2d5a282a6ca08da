"""doctor's half in the container: arguments and executor input in, a checklist out of what only a step can find out.

The task succeeds whatever it finds, because the platform keeps nothing of what a failed task has made.
"""

import os
import platform as python
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import mlflow
from mlflow.tracking.request_header.registry import resolve_request_headers

from .. import contract, tracking
from ..auth.credentials import DefaultCredentialsError, whoami
from ..contract.arguments import StepArguments
from ..contract.check import Doubt, check
from ..errors import AuthorizationError, UserError
from ..tracking.failures import refusal
from .runner import StepSession

_TOLD = ("job_name", "job_id", "job_resource_name", "job_created")


def look_around(args: StepArguments, executor_input: Mapping[str, Any], platform: Namespace) -> dict[str, Any]:
    """Look at everything that a step needs.

    Returns:
        ``checks``, as dictionaries, and the ``revision`` that the image was built from.
    """
    output_file = executor_input["outputs"]["outputFile"]
    probe = executor_input["outputs"]["artifacts"][contract.PROBE]["artifacts"][0]["uri"]
    told = {**{name: getattr(platform, name) for name in _TOLD}, "output_file": output_file, "artifact": probe}
    account = check("access token", _access_token)
    who = account.said if account.ok and not account.doubtful else "the account of the steps"
    first = [
        check("started", lambda: _started(platform.job_created)),
        check("user", lambda: f"{os.getuid()}:{os.getgid()}, Python {python.python_version()}, {python.machine()}"),
        check("placeholders", lambda: _placeholders(told)),
        check("mount", lambda: _mount(output_file)),
        account,
        check("bucket", lambda: _bucket(probe, who)),
    ]
    # A session configures the header provider, also if MLflow then refuses.
    tracked = check("MLflow", lambda: _mlflow(args))
    checks = [*first, check("ID token", _header), tracked]
    revision = os.environ.get(contract.REVISION_VARIABLE, "")
    return {"checks": [asdict(line) for line in checks], "revision": revision}


def _started(job_created: str) -> str:
    waited = datetime.now(UTC) - datetime.fromisoformat(job_created)
    return f"{waited.total_seconds():.0f} s after the job was made"


def _placeholders(told: Mapping[str, str]) -> str:
    said = ", ".join(f"{name} {value}" for name, value in told.items())
    if "{{$" in said:
        raise UserError(f"The platform has left a placeholder as it was: {said}")
    return said


def _mount(output_file: str) -> str:
    if not output_file.startswith("/gcs/"):
        return "this platform names no path below /gcs"
    trial = Path(f"{output_file}.trial")
    try:
        Path("/gcs").stat()  # without the mount, root could make a folder of this name
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise Doubt(f"/gcs cannot be written ({error.strerror}). Steps write to gs:// instead.") from None
    return "/gcs can be written"


def _access_token() -> str:
    try:
        return whoami()
    except DefaultCredentialsError:
        raise Doubt("There are no Google credentials here. A step on Vertex AI has some.") from None


def _bucket(probe: str, account: str) -> str:
    """Write as a step does, under a temporary name first, where the platform wants its artifact."""
    fs, path = fsspec.url_to_fs(probe)
    trial, permission = f"{path}.trial", "storage.objects.create"
    try:
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(trial, b"doctor")
        permission = "storage.objects.delete"  # renaming is copying, and deleting the old name
        fs.mv(trial, path)
        fs.rm(path)
    except Exception as error:  # the libraries for buckets have no base class for theirs
        raise UserError(
            f"{probe} cannot be written, renamed and deleted. Grant {account} roles/storage.objectUser on the bucket: "
            f"it lacks {permission}. ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from None
    return f"{probe} can be written, renamed and deleted"


def _header() -> str:
    names = [name for name in resolve_request_headers() if name.lower().endswith("authorization")]
    return f"got one; MLflow gets it in {', '.join(names)}" if names else "mlflow.yml names no provider that needs one"


def _mlflow(args: StepArguments) -> str:
    """Do what steps do with MLflow: start a run, log to it, keep a file, end it; then delete it."""
    try:
        with StepSession.create(Path.cwd(), env=args.env or None, conf_source=args.conf_source or None) as session:
            if not tracking.is_enabled(session.load_context(), args.pipeline):
                return "tracking is switched off"
            with mlflow.start_run(run_name=contract.DOCTOR_TASK) as run:
                mlflow.log_metric("doctor", 1.0)
                mlflow.log_text("doctor", "doctor.txt")
            mlflow.MlflowClient().delete_run(run.info.run_id)
            return f"{mlflow.get_tracking_uri()} takes runs, metrics and files"
    except (Exception, AuthorizationError) as error:
        raise UserError(refusal(str(error), error)) from None
