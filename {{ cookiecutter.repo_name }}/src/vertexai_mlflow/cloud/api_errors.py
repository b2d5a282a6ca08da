"""Turn errors of Google's clients into messages that say what to fix: a role to grant, an API to enable, a key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, RetryError

from ..auth.credentials import GoogleAuthError, advice_about_project, advice_for, reason
from ..errors import UserError
from ..settings.models import Target
from .permissions import suggest_fix


@contextmanager
def explain_errors(target: Target, subject: str = "") -> Iterator[None]:
    """Wrap calls of the Vertex AI API, and turn what they raise into a message for the user.

    Args:
        target: project, region and endpoint.
        subject: what the calls are about, such as ``job x``.

    Raises:
        UserError: when Google refuses a call, or cannot be reached.
    """
    endpoint = target.api_endpoint
    try:
        yield
    except RetryError as error:
        cause = summarize(error.cause) if error.cause else ""
        raise UserError(f"{endpoint} does not answer, although it was asked several times. ({cause})") from None
    except GoogleAPICallError as error:
        raise UserError(_explain_refusal(error, target, subject)) from None
    except GoogleAuthError as error:
        raise UserError(f"{advice_for(error)} ({reason(error)})") from None
    except requests.RequestException as error:
        raise UserError(f"{endpoint} is unreachable. Check network and region. ({summarize(error)})") from None


def summarize(error: Any) -> str:
    """The type of an exception and the first line of its message, at most 300 characters."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def _explain_refusal(error: GoogleAPICallError, target: Target, subject: str) -> str:
    # Google's client puts the method and the URL of the request in front of the message.
    message = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(error.message))
    project = target.project_id
    if error.code in (400, 403) and (fix := suggest_fix(message)):
        return f"{fix} ({message})"
    if error.code == 400:
        return f"Vertex AI refuses the request: {message}"
    if error.code == 401:
        return f"Google does not accept these credentials. Log in: gcloud auth application-default login ({message})"
    if error.code == 403 and (
        advice := advice_about_project(f"{message} {error.reason}", "aiplatform.googleapis.com", project)
    ):
        return f"{advice} ({message})"
    if error.code == 403:
        return f"Grant this identity roles/aiplatform.user on project {project}, or correct project_id. ({message})"
    if error.code == 404:
        return f"There is no {subject or 'such resource'} in project {project}, region {target.region}. ({message})"
    return f"Vertex AI answers with HTTP status {error.code}: {message}"
