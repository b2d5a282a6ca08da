"""google-auth's ambient credentials, for Google's APIs; and what to do when they fail."""

import re
from typing import Any

import google.auth
from google.auth import impersonated_credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.auth.transport.requests import AuthorizedSession

from .errors import AuthorizationError

__all__ = ["SCOPE", "GoogleAuthError", "advice_for", "ambient", "session"]

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def ambient() -> Any:
    """The credentials that google-auth finds here: a login, a service account, a federated identity.

    Raises:
        AuthorizationError: when there are none.
    """
    try:
        credentials, _project = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise AuthorizationError(advice_for(error)) from None
    return credentials


def session(service_account: str | None = None) -> AuthorizedSession:
    """A ``requests`` session that calls Google's REST APIs as the ambient identity.

    Args:
        service_account: whom to impersonate.

    Raises:
        AuthorizationError: when there are no credentials.
    """
    credentials = ambient()
    if service_account:
        credentials = impersonated_credentials.Credentials(credentials, service_account, target_scopes=[SCOPE])
    return AuthorizedSession(credentials)


def advice_for(error: Exception) -> str:
    """What to do about a failure to get a token."""
    if isinstance(error, DefaultCredentialsError):
        return "There are no Google credentials here: gcloud auth application-default login"
    if isinstance(error, RefreshError) and re.search("invalid_grant|reauth", str(error), re.IGNORECASE):
        return "The credentials have expired or were revoked: gcloud auth application-default login"
    if isinstance(error, TransportError | OSError):
        return "Google could not be reached, though tried for half a minute; try again."
    return "Google answered with an error."
