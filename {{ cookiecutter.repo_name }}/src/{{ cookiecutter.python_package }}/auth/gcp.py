"""Google ID tokens for an MLflow server behind Identity-Aware Proxy: OAuth client id in, ``Authorization`` header out.

google-auth gets the tokens; here they are kept until shortly before they end, renewed once for all threads, and a
failure to get one is told with what to grant.
"""

import functools
import os
import random
import re
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from google.auth import impersonated_credentials, jwt
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from ..errors import AuthorizationError
from .credentials import SCOPE, advice_for, default, is_switched_off
from .mlflow_request_header_provider import RequestHeaderProviderWithKedroContext

# A token is renewed this long before its end, in seconds, or after nine tenths of a short life.
_MARGIN = 60.0
# Waits between attempts, in seconds: about half a minute in all.
_BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_STATUS = re.compile(r"['\"]?code['\"]?: (\d{3})|\b([45]\d\d)\b")


class IdToken:
    """An ID token for one audience, shared by everything in the process that asks for it.

    Args:
        make_credentials: google-auth credentials whose ``refresh`` gets the token.
        advice: what to do about a failure, by the HTTP status of Google's answer; None if there was no answer.
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
        """The token, renewed if it is about to end.

        Raises:
            AuthorizationError: when there is none to be had, with the reason and the cure.
        """
        if time.monotonic() < self._renew_at:
            return self._token
        with self._lock:
            if time.monotonic() >= self._renew_at:  # no other thread has done it meanwhile
                self._renew()
        return self._token

    def _renew(self) -> None:
        for wait in (*_BACKOFF, None):
            try:
                if self._credentials is None:
                    self._credentials = self._make_credentials()
                started = time.monotonic()
                self._credentials.refresh(Request())
                self._keep(self._credentials.token, started)
                return
            except (GoogleAuthError, OSError, ValueError) as error:
                status = _status(error)
                if not _is_transient(status, error) or wait is None:
                    # What google-auth says of an answer it cannot read may quote the token in it.
                    said = str(error.args[0]) if isinstance(error, GoogleAuthError) and error.args else ""
                    reason = f"({type(error).__name__}: {said})".replace(": )", ")")
                    advice = self._advice(status, error)
                    raise AuthorizationError(f"No ID token from Google. {advice} {reason}") from None
                if time.monotonic() < self._ends_at:  # the old one will do a little longer
                    return
                time.sleep(wait * random.uniform(0.8, 1.2))

    def _keep(self, token: str, started: float) -> None:
        """A token's life is counted from now, by its own length: this machine's clock may be wrong."""
        claims = jwt.decode(token, verify=False)
        lifetime = claims["exp"] - claims["iat"] - 1  # both are whole seconds, the first one rounded down
        self._token = token
        self._ends_at = started + lifetime
        self._renew_at = self._ends_at - min(_MARGIN, lifetime / 10)

    def _new_lock(self) -> None:
        self._lock = threading.Lock()


class _GoogleProvider(RequestHeaderProviderWithKedroContext):
    def in_context(self) -> bool:
        """There is always a header to send."""
        return True

    def request_headers(self) -> dict[str, str]:
        """The header, ``Authorization`` unless ``header`` names another."""
        return {self.params.get("header", "Authorization"): f"Bearer {self._id_token().get()}"}

    @abstractmethod
    def _id_token(self) -> IdToken:
        """Whose token it is."""

    def _param(self, name: str) -> str:
        value = self.params.get(name)
        if not value:
            raise AuthorizationError(f"mlflow.yml: server.request_header_provider.init_kwargs.{name} is missing.")
        return str(value)


class MLFlowGoogleIAMRequestHeaderProvider(_GoogleProvider):
    """ID token of a service account that the ambient identity impersonates: ``client_id``, ``service_account``."""

    def _id_token(self) -> IdToken:
        return _impersonated(self._param("client_id"), self._param("service_account"))


class MLFlowGoogleOauthRequestHeaderProvider(_GoogleProvider):
    """ID token of the ambient identity itself (metadata server, service account key): ``client_id``."""

    def _id_token(self) -> IdToken:
        return _ambient(self._param("client_id"))


@functools.cache
def _impersonated(audience: str, service_account: str) -> IdToken:
    def make() -> Any:
        target = impersonated_credentials.Credentials(default(), service_account, target_scopes=[SCOPE])
        return impersonated_credentials.IDTokenCredentials(target, target_audience=audience, include_email=True)

    def advice(status: int | None, error: Exception) -> str:
        if status == 403 and is_switched_off(str(error)):
            return "Enable the API: gcloud services enable iamcredentials.googleapis.com"
        if status == 403:
            return f"Grant this identity roles/iam.serviceAccountTokenCreator on {service_account}."
        if status == 404:
            return f"There is no service account {service_account}; correct service_account."
        if status == 400:
            return f"Google does not take the audience {audience}; correct client_id."
        return advice_for(error)

    return IdToken(make, advice)


@functools.cache
def _ambient(audience: str) -> IdToken:
    def make() -> Any:
        return id_token.fetch_id_token_credentials(audience, request=Request())

    def advice(status: int | None, error: Exception) -> str:
        if isinstance(error, DefaultCredentialsError):
            return (
                "This identity has no ID tokens of its own (user credentials cannot mint ID tokens): use the provider "
                "MLFlowGoogleIAMRequestHeaderProvider with a service_account."
            )
        if status in (400, 404):
            return f"The metadata server does not give one for the audience {audience}; correct client_id."
        return advice_for(error)

    return IdToken(make, advice)


def ambient_id_token(audience: str) -> str:
    """An ID token of the ambient identity for a service that is called by it.

    Raises:
        AuthorizationError: when there is none to be had, with the reason and the cure.
    """
    return _ambient(audience).get()


def _status(error: Exception) -> int | None:
    match = _STATUS.search(str(error))
    return int(match.group(1) or match.group(2)) if match else None


def _is_transient(status: int | None, error: Exception) -> bool:
    if isinstance(error, DefaultCredentialsError):
        return False
    if status is not None:
        return status in (408, 429) or status >= 500
    return isinstance(error, TransportError | OSError | ValueError) or bool(getattr(error, "retryable", False))
