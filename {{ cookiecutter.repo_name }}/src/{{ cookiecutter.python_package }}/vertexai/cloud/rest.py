"""Calls of Google's REST APIs that need no generated client, and who makes them; every failure is a message."""

from typing import Any

import requests

from ...auth import credentials
from ...auth.credentials import GoogleAuthError, advice_for
from ...errors import AuthorizationError, UserError

_TIMEOUT = 60.0


def call(method: str, url: str, account: str | None = None, **request: Any) -> requests.Response:
    """Call an API as Google's ambient identity.

    Args:
        method: HTTP method.
        url: address of the API.
        account: service account to impersonate.
        request: further arguments of ``requests.request``.

    Returns:
        The answer, whatever its status.

    Raises:
        UserError: when there is no token, or Google cannot be reached.
    """
    try:
        return credentials.session(account).request(method, url, timeout=_TIMEOUT, **request)
    except GoogleAuthError as error:
        raise UserError(advice_for(error)) from None
    except requests.RequestException as error:
        raise UserError(f"{url.split('/')[2]} cannot be reached: {type(error).__name__}") from None


def whoami() -> str:
    """The e-mail of the ambient identity.

    Raises:
        UserError: when there are no credentials, or Google refuses them.
    """
    try:
        return credentials.whoami()
    except AuthorizationError as error:
        raise UserError(str(error)) from None
    except GoogleAuthError as error:
        raise UserError(advice_for(error)) from None


def impersonate(account: str) -> str:
    """Get a token of a service account, as the IAM header provider does, and throw it away.

    Returns:
        The account.

    Raises:
        UserError: when the ambient identity may not impersonate it.
    """
    try:
        credentials.may_impersonate(account)
    except GoogleAuthError as error:
        if "403" in str(error) or "denied" in str(error):
            raise UserError(f"Grant this identity roles/iam.serviceAccountTokenCreator on {account}.") from None
        raise UserError(f"{advice_for(error)} ({type(error).__name__})") from None
    return account


def unexpected(answer: requests.Response) -> UserError:
    """What to say about an answer that nobody expected."""
    return UserError(f"{answer.url.split('/')[2]} answers {answer.status_code}: {answer.text[:300]}")
