"""The ambient Google credentials, as google-auth finds them, and advice for failures."""

import logging
import re
from contextlib import suppress
from typing import Any

import google.auth
import requests
from google.auth import impersonated_credentials
from google.auth.credentials import with_scopes_if_required
from google.auth.exceptions import DefaultCredentialsError as DefaultCredentialsError
from google.auth.exceptions import GoogleAuthError as GoogleAuthError
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import AuthorizedSession, Request

from ..errors import AuthorizationError

_TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# google-auth warns when no default project is set. Every request here names its project, so nobody needs the warning.
logging.getLogger("google.auth._default").setLevel(logging.ERROR)


def default(service_account: str | None = None) -> Any:
    """Find google-auth's application default credentials, with the scope for all of Google Cloud's APIs.

    Args:
        service_account: service account to impersonate with them; None is for the ambient identity itself.

    Raises:
        GoogleAuthError: when there are no credentials, or they cannot be read.
    """
    # When the scope is passed to this function, google-auth also looks up the project of a federated identity. That
    # takes a request, and the project is not used here.
    credentials, _project = google.auth.default()
    credentials = with_scopes_if_required(credentials, [_SCOPE])
    if service_account:
        return impersonated_credentials.Credentials(credentials, service_account, target_scopes=[_SCOPE])
    return credentials


def access_token() -> str:
    """Get an access token of the ambient identity, for Google's APIs and registries.

    Raises:
        AuthorizationError: when Google gives no token; the message has the reason and the fix.
    """
    try:
        credentials = default()
        credentials.refresh(Request())
    except GoogleAuthError as error:
        raise AuthorizationError(f"{advice_for(error)} ({reason(error)})") from None
    return str(credentials.token)


def session(service_account: str | None = None) -> AuthorizedSession:
    """Make a ``requests`` session that calls Google's REST APIs as the ambient identity.

    Args:
        service_account: service account to impersonate; None calls as the ambient identity itself.

    Raises:
        GoogleAuthError: when there are no credentials.
    """
    return AuthorizedSession(default(service_account))


def whoami(service_account: str | None = None) -> str:
    """Ask who the ambient identity is: its e-mail address, or the type of its credentials if Google knows no address.

    Args:
        service_account: service account to impersonate first; the answer is then its address.

    Raises:
        GoogleAuthError: when there are no credentials, or Google gives no token for them.
    """
    credentials = default(service_account)
    credentials.refresh(Request())
    email = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    if email:
        return str(email)
    # The token goes into the body, because URLs are logged.
    response = requests.post(_TOKEN_INFO, data={"access_token": credentials.token}, timeout=30)
    return str(response.json().get("email") or type(credentials).__name__)


def advice_about_project(message: str, api: str, project: str = "") -> str:
    """What to do if Google refuses a request for the sake of a project; empty if the refusal is about something else.

    The login of a user names a quota project, which was gcloud's current one. Google asks whether the API and billing
    are on there, whichever project the request is about. https://docs.cloud.google.com/docs/quotas/set-quota-project

    Args:
        message: Google's message, and its reason if that is known.
        api: host of the API.
        project: the project that the request is about; empty if it is not known here.
    """
    is_off = "SERVICE_DISABLED" in message or bool(re.search("has not been used|is disabled", message))
    has_no_billing = bool(re.search("BILLING_DISABLED|requires billing|billing account .* disabled", message))
    is_denied, has_none = "USER_PROJECT_DENIED" in message, "requires a quota project" in message
    if not (is_off or has_no_billing or is_denied or has_none):
        return ""
    with suppress(GoogleAuthError):
        login = getattr(default(), "quota_project_id", None)
        if has_none or login not in (None, project):
            named = f"The quota project of your login is {login}" if login else "Your login has no quota project"
            command = f"gcloud auth application-default set-quota-project {project or 'PROJECT'}"
            return f"{named}, and Google asks whether it may be used. Name the one that you launch in: {command}"
    named_project = re.search(r"(?:in|on|use) project #?([\w:.-]*\w)", message)
    project = project or (named_project[1] if named_project else "PROJECT")
    if is_denied:
        return f"Grant this identity roles/serviceusage.serviceUsageConsumer on project {project}."
    if has_no_billing:
        return f"Link a billing account to project {project}: https://console.cloud.google.com/billing/linkedaccount"
    return f"The API {api} is not enabled. Enable it: gcloud services enable {api} --project {project}"


def reason(error: Exception) -> str:
    """The type of an error, and google-auth's own message if it has one.

    Its exceptions' other arguments, and errors of JSON and the network, may quote Google's answer with its tokens.
    """
    message = f": {error.args[0]}" if isinstance(error, GoogleAuthError) and error.args else ""
    return type(error).__name__ + message


def advice_for(error: Exception) -> str:
    """Say why there is no token, and what the user can do about it."""
    if isinstance(error, DefaultCredentialsError):
        return "There are no Google credentials here. Log in: gcloud auth application-default login"
    if isinstance(error, RefreshError) and re.search("invalid_grant|reauth", str(error), re.IGNORECASE):
        return "Google's credentials expired or were revoked. Log in again: gcloud auth application-default login"
    if isinstance(error, TransportError | OSError):
        return "Google could not be reached. Check the network and the proxy, and try again."
    return "Google answered with an error."
