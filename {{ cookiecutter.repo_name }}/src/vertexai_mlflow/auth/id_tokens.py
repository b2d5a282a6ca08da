"""Tokens for a server behind Identity-Aware Proxy: ID tokens by audience, and JWTs that a service account signs.

google-auth gets the ID tokens. This module keeps each token until shortly before it expires, renews it once for all
threads, and explains failures: which role to grant, or which key to correct.
"""

import functools
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
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
from requests import Response

from ..errors import AuthorizationError
from .credentials import advice_about_project, advice_for, default, reason, session, whoami

# A token is renewed this many seconds before it expires, or after nine tenths of its lifetime if that is short.
_MARGIN = 60.0
# Seconds to wait between the attempts to get a token: about half a minute in all.
BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# The most seconds that Identity-Aware Proxy lets a signed JWT live, and what signing one takes.
MAX_LIFETIME = 3600
SIGN_JWT = "iam.serviceAccounts.signJwt"
_API = "iamcredentials.googleapis.com"
_TIMEOUT = 60.0
# Seconds by which this machine's clock may be wrong without any harm.
_CLOCK_TOLERANCE = 10.0
_STATUS = re.compile(r"['\"]?code['\"]?: (\d{3})|\b([45]\d\d)\b")


class IdToken:
    """An ID token, or a signed JWT, for one audience, which the whole process shares.

    Args:
        make_credentials: makes google-auth credentials whose ``refresh`` gets the token.
        advice: returns what to do about a failure, given the HTTP status of Google's answer (None if Google did not
            answer) and the exception.
        name: what it is called in messages.
    """

    def __init__(
        self,
        make_credentials: Callable[[], Any],
        advice: Callable[[int | None, Exception], str],
        name: str = "ID token",
    ) -> None:
        self._make_credentials = make_credentials
        self._advice = advice
        self._name = name
        self._credentials: Any = None
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # Windows has no forks
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
        for wait in (*BACKOFF, None):
            try:
                if self._credentials is None:
                    self._credentials = self._make_credentials()
                self._refresh()
                return
            except (GoogleAuthError, OSError, ValueError) as error:
                status = _status(error)
                if not _is_transient(status, error) or wait is None:
                    advice = self._advice(status, error)
                    raise AuthorizationError(f"Google gave no {self._name}. {advice} ({reason(error)})") from None
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


@functools.cache
def signed_jwt(audience: str, service_account: str, lifetime: str = str(MAX_LIFETIME)) -> IdToken:
    """A JWT by which an account that the ambient identity may sign for calls the server at some URLs.

    Identity-Aware Proxy takes it whichever OAuth client it has, also the Google-managed one, for which it refuses ID
    tokens. https://docs.cloud.google.com/iap/docs/authentication-howto

    Args:
        audience: the URLs: ``https://host/*``.
        service_account: e-mail of the account.
        lifetime: seconds for which it is valid, at most 3600. It is a text, as kedro-mlflow allows nothing else.

    Raises:
        AuthorizationError: when the lifetime is not possible.
    """
    if not (lifetime.isdecimal() and 0 < int(lifetime) <= MAX_LIFETIME):
        raise AuthorizationError(
            f"mlflow.yml: server.request_header_provider.init_kwargs.lifetime is {lifetime}, and a JWT for "
            f"Identity-Aware Proxy lives for 1 to {MAX_LIFETIME} seconds."
        )

    def advice(status: int | None, error: Exception) -> str:
        if status == 403 and not advice_about_project(str(error), _API):
            return (
                f"Grant this identity a role with {SIGN_JWT} on {service_account}, as `make bootstrap` does, and check "
                "that this account exists."
            )
        return _advice_about_minting(status, error, audience, service_account, "")

    return IdToken(lambda: _SigningCredentials(audience, service_account, int(lifetime)), advice, "signed JWT")


class _SigningCredentials:
    """Credentials whose token is a JWT that an account has signed by the API IAM Credentials."""

    def __init__(self, audience: str, service_account: str, lifetime: int) -> None:
        self._claims = {"iss": service_account, "sub": service_account, "aud": audience}
        self._url = f"https://{_API}/v1/projects/-/serviceAccounts/{service_account}:signJwt"
        self._lifetime = lifetime
        self._session = session()
        self._clock_error = 0.0  # seconds by which Google's clock is ahead of this machine's
        self.token = ""

    def refresh(self, _request: Request) -> None:
        """Get a new token. Its times are those of Google's clock, because this machine's may be wrong."""
        answer = self._sign()
        clock_error = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
        if abs(clock_error - self._clock_error) > _CLOCK_TOLERANCE:
            self._clock_error = clock_error
            answer = self._sign()
        if not answer.ok:
            raise RefreshError(f"code: {answer.status_code}, {answer.text[:300]}")
        self.token = str(answer.json()["signedJwt"])

    def _sign(self) -> Response:
        now = int(time.time() + self._clock_error)
        payload = json.dumps({**self._claims, "iat": now, "exp": now + self._lifetime})
        return self._session.post(self._url, json={"payload": payload}, timeout=_TIMEOUT)


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
        return advice_about_project(str(error), _API) or grant
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
