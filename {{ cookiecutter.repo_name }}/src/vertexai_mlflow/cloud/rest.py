"""Calls of Google's REST APIs without a generated client. Every failure becomes a message for the user."""

from collections.abc import Mapping
from typing import Any

import requests

from ..auth import credentials
from ..auth.credentials import GoogleAuthError, advice_about_project, advice_for
from ..errors import UserError

_TIMEOUT = 60.0


def call(
    method: str, url: str, refusals: Mapping[int, str], account: str | None = None, **request: Any
) -> requests.Response:
    """Call an API as Google's ambient identity.

    Args:
        method: HTTP method.
        url: address of the API.
        refusals: messages for the user, by the HTTP status of Google's answer.
        account: service account to impersonate; None calls as the ambient identity itself.
        request: further arguments of ``requests.request``.

    Returns:
        The answer, whose status is below 400.

    Raises:
        UserError: when there is no token, Google cannot be reached, or it refuses.
    """
    host = url.split("/")[2]
    try:
        answer = credentials.session(account).request(method, url, timeout=_TIMEOUT, **request)
    except GoogleAuthError as error:
        raise UserError(advice_for(error)) from None
    except requests.RequestException as error:
        raise UserError(f"{host} cannot be reached ({type(error).__name__}). Check network and proxy.") from None
    if answer.status_code == 403 and (advice := advice_about_project(answer.text, host)):
        raise UserError(f"{advice} ({host} answers: {answer.text[:300]})")
    if not answer.ok:
        raise UserError(refusals.get(answer.status_code, f"{host} answers {answer.status_code}: {answer.text[:300]}"))
    return answer


def whoami(account: str | None = None) -> str:
    """Ask Google for the e-mail address of the ambient identity, by getting a token for it.

    Args:
        account: service account to impersonate first.

    Raises:
        UserError: when there are no credentials, Google refuses them, or they may not impersonate the account.
    """
    try:
        return credentials.whoami(account)
    except GoogleAuthError as error:
        raise UserError(f"{advice_for(error)} ({type(error).__name__})") from None
