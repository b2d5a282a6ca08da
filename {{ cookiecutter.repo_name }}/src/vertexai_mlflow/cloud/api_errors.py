"""What Google's clients raise → a message with the cure: a role to grant, an API to enable, a key to correct."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, RetryError

from ..auth.credentials import GoogleAuthError, advice_for, is_switched_off, reason
from ..errors import UserError
from ..settings.models import Target
from .rights import cure_for


@contextmanager
def explained(target: Target, what: str = "") -> Iterator[None]:
    """Wrap calls of the Vertex AI API, and turn what they raise into a message for the user.

    Args:
        target: project, region and endpoint.
        what: what the calls are about, such as ``job x``.

    Raises:
        UserError: when Google refuses a call, or cannot be reached.
    """
    try:
        yield
    except RetryError as error:
        cause = brief(error.cause) if error.cause else ""
        raise UserError(
            f"{target.api_endpoint} does not answer, although it was asked several times. ({cause})"
        ) from None
    except GoogleAPICallError as error:
        raise UserError(_refusal(error, target, what)) from None
    except GoogleAuthError as error:
        raise UserError(f"{advice_for(error)} ({reason(error)})") from None
    except requests.RequestException as error:
        raise UserError(f"{target.api_endpoint} is unreachable. Check network and region. ({brief(error)})") from None


def brief(error: Any) -> str:
    """The type of an exception and the first line of its message, at most 300 characters."""
    said = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {said[0]}"[:300]


def _refusal(error: GoogleAPICallError, target: Target, what: str) -> str:
    # Google's client puts the method and the URL of the request in front of the message.
    said = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(error.message))
    project = target.project_id
    if error.code in (400, 403) and (cure := cure_for(said)):
        return f"{cure} ({said})"
    if error.code == 400:
        return f"Vertex AI refuses the request: {said}"
    if error.code == 401:
        return f"Google does not accept these credentials. Log in: gcloud auth application-default login ({said})"
    if error.code == 403 and is_switched_off(f"{said} {error.reason}"):
        cure = f"gcloud services enable aiplatform.googleapis.com --project {project}"
        return f"The Vertex AI API is not enabled. Enable it: {cure} ({said})"
    if error.code == 403 and error.reason == "USER_PROJECT_DENIED":
        return f"Grant this identity roles/serviceusage.serviceUsageConsumer on project {project}. ({said})"
    if error.code == 403:
        return f"Grant this identity roles/aiplatform.user on project {project}, or correct project_id. ({said})"
    if error.code == 404:
        return f"There is no {what or 'such resource'} in project {project}, region {target.region}. ({said})"
    return f"Vertex AI answers with HTTP status {error.code}: {said}"
