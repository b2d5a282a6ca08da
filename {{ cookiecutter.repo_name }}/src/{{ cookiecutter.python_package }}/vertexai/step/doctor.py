"""doctor's half in the container: arguments and executor input in, a checklist out of what only a step can find out.

The task succeeds whatever it finds, because the platform tells the launcher nothing that a failed task has made.
"""

import os
import platform as python
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from mlflow.tracking.request_header.registry import resolve_request_headers

from ...auth import credentials
from ...errors import AuthorizationError, UserError
from .. import contract, tracking
from ..contract import StepArguments, is_local
from ..contract.check import Check, Doubt, check
from .runner import StepSession


def look_around(args: StepArguments, executor_input: Mapping[str, Any], platform: Namespace) -> dict[str, Any]:
    """Look at everything that a step needs.

    Returns:
        ``checks``, as dictionaries, and the ``revision`` that the image was built from.
    """
    output_file = executor_input["outputs"]["outputFile"]
    probe = executor_input["outputs"]["artifacts"][contract.PROBE]["artifacts"][0]["uri"]
    # Opening a session configures the header provider, whether or not MLflow then answers.
    mlflow = _look("MLflow", lambda: _mlflow(args))
    checks = [
        _look("started", lambda: _started(platform.job_created)),
        _look("user", lambda: f"{os.getuid()}:{os.getgid()}, Python {python.python_version()}, {python.machine()}"),
        _look("placeholders", lambda: _placeholders({**vars(platform), "output_file": output_file, "artifact": probe})),
        _look("mount", lambda: _mount(output_file)),
        _look("access token", lambda: _account(probe)),
        _look("bucket" if not is_local(probe) else "artifacts", lambda: _writable(probe)),
        _look("ID token", _header),
        mlflow,
    ]
    revision = os.environ.get(contract.REVISION_VARIABLE, "")
    return {"checks": [asdict(line) for line in checks], "revision": revision}


def _look(name: str, look: Callable[[], str]) -> Check:
    """Run a check, whose line says also what nobody has foreseen."""
    try:
        return check(name, look)
    except (Exception, AuthorizationError) as error:
        return Check(name, False, tracking.refusal(f"{type(error).__name__}: {error}", error))


def _started(job_created: str) -> str:
    waited = datetime.now(UTC) - datetime.fromisoformat(job_created)
    return f"{waited.total_seconds():.0f} s after the job was made"


def _placeholders(told: Mapping[str, Any]) -> str:
    names = ("job_name", "job_id", "job_resource_name", "job_created", "output_file", "artifact")
    said = ", ".join(f"{name} {told[name]}" for name in names)
    if "{{$" in said:
        raise UserError(f"The platform has left a placeholder as it was: {said}")
    return said


def _mount(output_file: str) -> str:
    if not output_file.startswith("/gcs/"):
        return "this platform names no path below /gcs"
    trial = Path(f"{output_file}.trial")
    try:
        trial.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise Doubt(f"/gcs cannot be written ({error.strerror}). Steps write to gs:// instead.") from None
    return "/gcs can be written"


def _account(probe: str) -> str:
    try:
        return credentials.whoami()
    except credentials.GoogleAuthError as error:
        if is_local(probe):
            raise Doubt("there is none here, and nothing here needs one") from None
        raise UserError(f"{credentials.advice_for(error)} ({error})") from None


def _writable(probe: str) -> str:
    fs, path = fsspec.url_to_fs(probe)
    trial, lacking = f"{path}.trial", "create"
    try:
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(trial, b"doctor")
        lacking = "get"
        fs.cat_file(trial)
        lacking = "delete"  # renaming deletes the old name
        fs.mv(trial, path)
        fs.rm(path)
    except Exception as error:  # the libraries for buckets have no base class for theirs
        cure = ""
        if not is_local(probe):
            with suppress(credentials.GoogleAuthError):
                cure = f"Grant {credentials.whoami()} roles/storage.objectUser on gs://{path.partition('/')[0]}: "
        raise UserError(f"{cure}it lacks storage.objects.{lacking}. ({type(error).__name__}: {error})") from None
    return f"{probe} can be written, read, renamed and deleted"


def _header() -> str:
    names = [name for name in resolve_request_headers() if name.lower().endswith("authorization")]
    return f"got one; MLflow gets it in {', '.join(names)}" if names else "mlflow.yml names no provider that needs one"


def _mlflow(args: StepArguments) -> str:
    conf_source = args.conf_source or None
    with StepSession.create(Path.cwd(), env=args.env or None, conf_source=conf_source) as session:
        if not tracking.is_enabled(session.load_context(), args.pipeline):
            return "tracking is switched off"
        return f"{tracking.try_out()} takes runs, metrics and files"
