"""Google ID tokens for a server behind Identity-Aware Proxy, by audience and service account.

google-auth gets the tokens. This module keeps each token until shortly before it expires, renews it once for all
threads, and explains failures: which role to grant, or which key to correct.
"""

import functools
import os
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from google.auth import compute_engine, impersonated_credentials, jwt
from google.auth.exceptions import (
    DefaultCredentialsError,
    GoogleAuthError,
    MalformedError,
    RefreshError,
    TransportError,
)
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from ..errors import AuthorizationError
from .credentials import advice_for, default, is_switched_off, reason, whoami

# A token is renewed this many seconds before it expires, or after nine tenths of its lifetime if that is short.
_MARGIN = 60.0
# Seconds to wait between the attempts to get a token: about half a minute in all.
_BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_STATUS = re.compile(r"['\"]?code['\"]?: (\d{3})|\b([45]\d\d)\b")


class IdToken:
    """An ID token for one audience, which the whole process shares.

    Args:
        make_credentials: makes google-auth credentials whose ``refresh`` gets the token.
        advice: returns what to do about a failure, given the HTTP status of Google's answer (None if Google did not
            answer) and the exception.
    """

    def __init__(self, make_credentials: Callable[[], Any], advice: Callable[[int | None, Exception], str]) -> None:
        self._make_credentials = make_credentials
        self._advice = advice
        self._credentials: Any = None
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._new_lock)

    def get(self) -> str:
        """Get the token. It is renewed first if it is about to expire.

        Raises:
            AuthorizationError: when Google gives no token; the message has the reason and the fix.
        """
        if time.monotonic() < self._renew_at:
            return self._token
        with self._lock:
            if time.monotonic() >= self._renew_at:  # another thread may have renewed it in the meantime
                self._renew()
        return self._token

    def _renew(self) -> None:
        for wait in (*_BACKOFF, None):
            try:
                if self._credentials is None:
                    self._credentials = self._make_credentials()
                self._refresh()
                return
            except (GoogleAuthError, OSError, ValueError) as error:
                status = _status(error)
                if not _is_transient(status, error) or wait is None:
                    advice = self._advice(status, error)
                    raise AuthorizationError(f"Google gave no ID token. {advice} ({reason(error)})") from None
                if time.monotonic() < self._ends_at:  # the old token is still valid
                    return
                time.sleep(wait * random.uniform(0.8, 1.2))

    def _refresh(self) -> None:
        """Get a new token. Only its lifetime is taken from its claims, because this machine's clock may be wrong."""
        started = time.monotonic()
        try:
            self._credentials.refresh(Request())
            token = self._credentials.token
            claims = jwt.decode(token, verify=False)
            lifetime = claims["exp"] - claims["iat"] - 1  # iat is rounded down, so up to a second has gone by
        except (MalformedError, KeyError, TypeError):  # these quote the token
            raise GoogleAuthError("the answer has no readable token") from None
        self._token = token
        self._ends_at = started + lifetime
        self._renew_at = self._ends_at - min(_MARGIN, lifetime / 10)

    def _new_lock(self) -> None:
        self._lock = threading.Lock()


@functools.cache
def impersonated(audience: str, service_account: str) -> IdToken:
    """The ID token of an account that the ambient identity impersonates, to call the service that has this audience."""
    grant = f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {service_account}."

    def advice(status: int | None, error: Exception) -> str:
        return _advice_about_minting(status, error, audience, service_account, grant)

    return IdToken(lambda: _minting_credentials(audience, service_account), advice)


@functools.cache
def ambient(audience: str) -> IdToken:
    """The ID token of the ambient identity, to call the service that has this audience."""

    def advice(status: int | None, error: Exception) -> str:
        if isinstance(error, DefaultCredentialsError):
            return (
                "User credentials cannot mint ID tokens. Use the provider MLFlowGoogleIAMRequestHeaderProvider and "
                "name a service_account to impersonate."
            )
        if status not in (400, 403, 404):
            return advice_for(error)
        me = whoami()
        grant = f"Grant {me} roles/iam.serviceAccountOpenIdTokenCreator on itself."
        return _advice_about_minting(status, error, audience, me, grant)

    return IdToken(lambda: _AmbientCredentials(audience), advice)


class _AmbientCredentials:
    """Credentials whose token is an ID token of the ambient identity.

    The metadata server of a container may give only access tokens. The account then mints its ID token by the API IAM
    Credentials.
    """

    def __init__(self, audience: str) -> None:
        self._audience = audience
        self._credentials = id_token.fetch_id_token_credentials(audience, request=Request())
        self.token = ""

    def refresh(self, request: Request) -> None:
        """Get a new token."""
        try:
            self._credentials.refresh(request)
        except RefreshError as error:
            is_from_metadata = isinstance(self._credentials, compute_engine.IDTokenCredentials)
            if not is_from_metadata or _is_transient(_status(error), error):
                raise
            self._credentials = _minting_credentials(self._audience, whoami())
            self._credentials.refresh(request)
        self.token = self._credentials.token


def _minting_credentials(audience: str, service_account: str) -> Any:
    """Credentials whose token is an account's ID token, minted by the API IAM Credentials for the ambient identity."""
    target = default(service_account)
    return impersonated_credentials.IDTokenCredentials(target, target_audience=audience, include_email=True)


def _advice_about_minting(status: int | None, error: Exception, audience: str, account: str, grant: str) -> str:
    if status == 403:
        is_off = is_switched_off(str(error))
        return "Enable the API: gcloud services enable iamcredentials.googleapis.com" if is_off else grant
    if status == 404:
        return f"There is no service account {account}. Correct it in globals.yml or mlflow.yml."
    if status == 400:
        return f"Google does not accept the audience {audience}. Correct client_id in globals.yml or mlflow.yml."
    return advice_for(error)


def _status(error: Exception) -> int | None:
    match = _STATUS.search(str(error))
    return int(match.group(1) or match.group(2)) if match else None


def _is_transient(status: int | None, error: Exception) -> bool:
    if isinstance(error, DefaultCredentialsError):
        return False
    if status is not None:
        return status in (408, 429) or status >= 500
    return isinstance(error, TransportError | OSError | ValueError) or bool(getattr(error, "retryable", False))
