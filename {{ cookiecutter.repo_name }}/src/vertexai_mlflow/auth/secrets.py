"""Secrets: from Secret Manager in a step, from the environment on a laptop. Each is asked for once a process."""

import base64
import functools
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import requests

from ..contract import names
from ..errors import AuthorizationError, keep_out
from .credentials import GoogleAuthError, advice_about_project, advice_for, reason, session

API = "secretmanager.googleapis.com"
ROLE = "roles/secretmanager.secretAccessor"
# Begins the names of the variables that have secrets on a laptop.
SECRET_PREFIX = "KEDRO_SECRET_"
_TIMEOUT = 30.0
# Seconds before each further attempt when Google is overloaded.
BACKOFF = (1.0, 4.0)
_NAME = re.compile(r"(?:projects/([\w.:-]+)/secrets/)?([\w-]{1,255})")
_VERSION = re.compile(r"[\w-]+")
_LOCK = threading.Lock()
# What stands for a secret where nobody is going to use it.
LEFT_OUT = "***"
_is_left_out = ContextVar("_is_left_out", default=False)


def variable_of(name: str) -> str:
    """The environment variable that has a secret on a laptop: slack-webhook → KEDRO_SECRET_SLACK_WEBHOOK."""
    return SECRET_PREFIX + re.sub(r"\W", "_", name.rpartition("/")[2]).upper()


def address_of(name: str, project: str = "") -> str:
    """What Secret Manager calls a secret: ``projects/<project>/secrets/<name>``.

    Args:
        name: its name, or this address.
        project: where it is, if the name does not say that; by default, the project of the job.

    Raises:
        AuthorizationError: when the name cannot be one, or no project is known.
    """
    if (match := _NAME.fullmatch(name)) is None:
        raise AuthorizationError(f"${{gcp.secret:{name}}}: name a secret of Secret Manager, without its version.")
    project = match[1] or project or os.environ.get(names.PROJECT_VARIABLE, "")
    if not project:
        raise AuthorizationError(
            f"${{gcp.secret:{name}}}: a job on this machine has no project to look in. Set {variable_of(name)}, or "
            f"name the secret's project: ${{gcp.secret:projects/PROJECT/secrets/{match[2]}}}"
        )
    return f"projects/{project}/secrets/{match[2]}"


def secret(name: str, version: str = "latest", project: str = "") -> str:
    """The value of a secret, which messages and MLflow do not show from now on.

    Args:
        name: its name, or ``projects/<project>/secrets/<name>``.
        version: a number, an alias, or latest.
        project: see ``address_of``.

    Raises:
        AuthorizationError: when there is no such secret, or Google refuses; the message says what to do.
    """
    value = os.environ.get(variable_of(name))
    # An empty one is that of a CI system without this secret.
    if not value:
        if not _VERSION.fullmatch(version):
            raise AuthorizationError(f"${{gcp.secret:{name},{version}}}: a version is a number, an alias, or latest.")
        with _LOCK:
            value = _ask(address_of(name, project), version)
    keep_out(value)
    return value


def in_configuration(name: str, version: str | int = "latest") -> str:
    """The value of a secret that a file of the configuration names. Only a step asks Secret Manager for it.

    Raises:
        AuthorizationError: also outside of a step, if the environment variable is missing.
    """
    is_known = bool(os.environ.get(variable_of(name)))
    if not is_known and _is_left_out.get():
        return LEFT_OUT
    if not is_known and names.STEP_VARIABLE not in os.environ:
        raise AuthorizationError(
            f"${{gcp.secret:{name}}}: only steps ask Secret Manager. On this machine, set {variable_of(name)}."
        )
    return secret(name, str(version))


@contextmanager
def left_out() -> Iterator[None]:
    """Read configuration and ask nobody for a secret in it, because nothing is going to need it."""
    token = _is_left_out.set(True)
    try:
        yield
    finally:
        _is_left_out.reset(token)


@functools.cache
def _ask(address: str, version: str) -> str:
    url = f"https://{API}/v1/{address}/versions/{version}:access"
    try:
        client = session()
        for wait in (*BACKOFF, None):
            answer = client.get(url, timeout=_TIMEOUT)
            if wait is None or not (answer.status_code == 429 or answer.status_code >= 500):
                break
            time.sleep(wait)
    except GoogleAuthError as error:
        raise AuthorizationError(
            f"The secret {address} cannot be read. {advice_for(error)} ({reason(error)})"
        ) from None
    except requests.RequestException as error:
        raise AuthorizationError(
            f"{API} cannot be reached ({type(error).__name__}). Check network and proxy."
        ) from None
    if answer.ok:
        return base64.b64decode(answer.json()["payload"]["data"]).decode()
    raise AuthorizationError(f"{_advice(answer, address, version)} ({API} answers {answer.status_code})")


def _advice(answer: requests.Response, address: str, version: str) -> str:
    if answer.status_code == 403:
        grant = f"Grant the steps' service account {ROLE} on the secret {address}, as `kedro vertexai bootstrap` does."
        return advice_about_project(answer.text, API) or grant
    if answer.status_code == 404:
        return f"There is no version {version} of the secret {address}."
    return f"The secret {address}, version {version}, cannot be read."
