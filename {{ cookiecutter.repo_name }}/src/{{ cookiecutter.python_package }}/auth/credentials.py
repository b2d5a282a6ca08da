"""google-auth's ambient credentials, for Google's APIs; and what to do when they fail."""

import logging
import re
from typing import Any

import google.auth
import requests
from google.auth import impersonated_credentials
from google.auth.credentials import with_scopes_if_required
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.auth.transport.requests import AuthorizedSession, Request

from ..errors import AuthorizationError

__all__ = [
    "SCOPE", "GoogleAuthError", "access_token", "advice_for", "ambient", "default", "is_switched_off",
    "may_impersonate", "session", "whoami",
]  # fmt: skip

_TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# It warns that no project is set; here every request names its own.
logging.getLogger("google.auth._default").setLevel(logging.ERROR)


def default() -> Any:
    """google-auth's application default credentials, for all of Google's APIs.

    Raises:
        GoogleAuthError: when there are none, or they cannot be read.
    """
    # If it were asked with the scope, google-auth would look up a project's name for a federated identity, which nobody
    # needs here.
    credentials, _project = google.auth.default()
    return with_scopes_if_required(credentials, [SCOPE])


def ambient() -> Any:
    """The credentials that google-auth finds here: a login, a service account, a federated identity.

    Raises:
        AuthorizationError: when there are none.
    """
    try:
        return default()
    except GoogleAuthError as error:
        raise AuthorizationError(advice_for(error)) from None


def access_token() -> str:
    """An access token of the ambient identity, for Google's APIs and registries.

    Raises:
        AuthorizationError: when there is none to be had, with the reason and the cure.
    """
    credentials = ambient()
    try:
        credentials.refresh(Request())
    except GoogleAuthError as error:
        raise AuthorizationError(f"{advice_for(error)} ({error})") from None
    return str(credentials.token)


def session(service_account: str | None = None) -> AuthorizedSession:
    """A ``requests`` session that calls Google's REST APIs as the ambient identity.

    Args:
        service_account: whom to impersonate.

    Raises:
        GoogleAuthError: when there are no credentials.
    """
    credentials = default()
    if service_account:
        credentials = impersonated_credentials.Credentials(credentials, service_account, target_scopes=[SCOPE])
    return AuthorizedSession(credentials)


def may_impersonate(service_account: str) -> None:
    """Get an access token of a service account, and throw it away.

    Raises:
        GoogleAuthError: when there is none for the ambient identity.
    """
    session(service_account).credentials.refresh(Request())


def whoami() -> str:
    """The e-mail of the ambient identity, or its kind if Google does not tell.

    Raises:
        GoogleAuthError: when there are no credentials, or they get no token.
    """
    credentials = default()
    credentials.refresh(Request())
    email = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    if email:
        return str(email)
    # In the body: a URL would be logged.
    answer = requests.post(_TOKEN_INFO, data={"access_token": credentials.token}, timeout=30)
    return str(answer.json().get("email") or type(credentials).__name__)


def is_switched_off(said: str) -> bool:
    """Whether an answer of Google's says that the API is not enabled in the project."""
    return bool(re.search("SERVICE_DISABLED|has not been used|is disabled", said))


def advice_for(error: Exception) -> str:
    """What to do about a failure to get a token."""
    if isinstance(error, DefaultCredentialsError):
        return "There are no Google credentials here: gcloud auth application-default login"
    if isinstance(error, RefreshError) and re.search("invalid_grant|reauth", str(error), re.IGNORECASE):
        return "The credentials have expired or were revoked: gcloud auth application-default login"
    if isinstance(error, TransportError | OSError):
        return "Google could not be reached for half a minute. Try again."
    return "Google answered with an error."
