"""Base class of the header providers that ``mlflow.yml`` names. They make MLflow's headers from a Kedro context.

MLflow swallows what a provider raises, and sends the request without its header. kedro-mlflow registers another
provider with each Kedro context, and MLflow then joins the headers of all of them. This class prevents both. MLflow
also sends the headers with each of its requests, to any server, so a guard checks each address.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

import mlflow
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from mlflow.environment_variables import MLFLOW_TRACKING_AUTH
from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
from mlflow.tracking.request_auth.registry import _request_auth_provider_registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from requests.utils import get_environ_proxies, select_proxy

from ..errors import PLACEHOLDER, AuthorizationError, masked, not_filled_in
from .secrets import left_out

_GUARD = "only-to-the-tracking-server"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RequestHeaderProviderWithKedroContext(RequestHeaderProvider):
    """Override ``in_context()``, whether there are headers to send, and ``request_headers()``, which returns them.

    A subclass's methods are wrapped: only the newest provider sends headers, and an error ends the process.

    Args:
        kedro_context: passed by kedro-mlflow when ``pass_context`` is true.
        init_kwargs: ``server.request_header_provider.init_kwargs`` of ``mlflow.yml``. ``self.params`` has them
            together with ``run_config.mlflow.request_header_provider_params`` of ``vertexai.yml``.

    Raises:
        AuthorizationError: when the two files contradict each other, a placeholder has not been filled in, or
            MLFLOW_TRACKING_AUTH names another guard.
    """

    # Each Kedro context registers one more provider. Only that of the newest context sends headers, so the class and
    # no instance knows which one that is.
    _newest: ClassVar["RequestHeaderProviderWithKedroContext | None"] = None

    def __init__(self, kedro_context: KedroContext, **init_kwargs: Any) -> None:
        self.kedro_context = kedro_context
        self.params = _join_params(init_kwargs, kedro_context)
        _refuse_placeholders(self.params, kedro_context)
        RequestHeaderProviderWithKedroContext._newest = self
        # MLflow asks one guard only. Without ours, it follows redirects to other hosts with the token.
        if (guard := os.environ.setdefault(MLFLOW_TRACKING_AUTH.name, _GUARD)) != _GUARD:
            raise AuthorizationError(
                f"{MLFLOW_TRACKING_AUTH.name} is set to {guard}, so nothing would keep the authorization header from "
                f"other servers. Unset it, because {type(self).__name__} already authorizes MLflow's requests."
            )

    def required(self, name: str) -> str:
        """Get a parameter that this provider cannot do without.

        Raises:
            AuthorizationError: when neither file has it.
        """
        if not (value := self.params.get(name)):
            raise AuthorizationError(f"mlflow.yml: server.request_header_provider.init_kwargs.{name} is missing.")
        return str(value)

    @property
    def server_urls(self) -> str:
        """All addresses of the tracking server, as the audience of a signed JWT: ``https://host/*``."""
        server = urlsplit(mlflow.get_tracking_uri())
        return f"{server.scheme}://{server.netloc.rpartition('@')[2]}/*"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("in_context", "request_headers"):
            if name in cls.__dict__:
                setattr(cls, name, _guard_method(cls.__dict__[name]))


def _guard_method(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a provider's method: only the newest provider sends headers, and a failure ends the process."""

    @functools.wraps(method)
    def guarded(self: RequestHeaderProviderWithKedroContext) -> Any:
        if self is not RequestHeaderProviderWithKedroContext._newest:
            return False if method.__name__ == "in_context" else {}
        try:
            result = method(self)
        except Exception as error:
            # The cause is left out, because its traceback could show a token.
            where = f"{type(self).__name__}.{method.__name__}"
            raise AuthorizationError(f"{where}: {type(error).__name__}: {error}") from None
        if method.__name__ == "request_headers" and result:
            _refuse_plain_http(self)
        return result

    return guarded


class _Guard(RequestAuthProvider):
    """Lets requests with the provider's headers go to the tracking server and to nowhere else."""

    def get_name(self) -> str:
        """The name by which the environment variable MLFLOW_TRACKING_AUTH chooses this guard."""
        return _GUARD

    def get_auth(self) -> Callable[[Any], Any]:
        """The function that ``requests`` calls with each request before it is sent."""
        return _check_request


_request_auth_provider_registry.register(_Guard)


def _check_request(request: Any) -> Any:
    _refuse_other_server(request.url)
    request.register_hook("response", _check_redirect)
    return request


def _check_redirect(response: Any, **_: Any) -> None:
    if response.is_redirect:
        _refuse_other_server(urljoin(response.url, response.headers["Location"]))


def _refuse_other_server(url: str) -> None:
    provider, server = RequestHeaderProviderWithKedroContext._newest, _origin(mlflow.get_tracking_uri())
    if provider and provider.in_context() and _origin(url) != server:
        raise AuthorizationError(
            f"The authorization header is for the tracking server at {server}, but a request would send it to "
            f"{_origin(url)}: see mlflow_registry_uri in mlflow.yml, the artifact location of the MLflow experiment, "
            "or where the server redirects to."
        )


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, without the user and password that may be in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _refuse_plain_http(provider: RequestHeaderProviderWithKedroContext) -> None:
    """Refuse to send the header unencrypted to another machine."""
    server = urlsplit(mlflow.get_tracking_uri())
    host = server.hostname or ""
    if server.scheme == "http" and host not in (*_LOOPBACK, provider.params.get("allow_http")):
        raise AuthorizationError(
            f"mlflow.yml: server.mlflow_tracking_uri is plain http to {host}, so others on the network could "
            f"read the authorization header. Use https, or allow this host: init_kwargs.allow_http: {host}"
        )
    address = server.geturl()
    if server.scheme == "http" and (proxy := select_proxy(address, get_environ_proxies(address))):
        raise AuthorizationError(
            f"mlflow.yml: server.mlflow_tracking_uri is plain http to {host}, so the proxy {masked(proxy)} could read "
            f"the authorization header. Let requests to this host pass it by: NO_PROXY={host}"
        )


def _join_params(init_kwargs: dict[str, Any], context: KedroContext) -> dict[str, Any]:
    """Join the parameters of ``mlflow.yml`` and ``vertexai.yml``, which must not contradict each other."""
    run_config = _config(context, "vertexai").get("run_config") or {}
    vertexai_params = (run_config.get("mlflow") or {}).get("request_header_provider_params") or {}
    for name, value in vertexai_params.items():
        if init_kwargs.get(name, value) != value:
            raise AuthorizationError(
                f"'{name}' is '{init_kwargs[name]}' in mlflow.yml (server.request_header_provider.init_kwargs) but "
                f"'{value}' in vertexai.yml (run_config.mlflow.request_header_provider_params). Remove one of them."
            )
    return {**vertexai_params, **init_kwargs}


def _refuse_placeholders(params: dict[str, Any], context: KedroContext) -> None:
    server = _config(context, "mlflow").get("server") or {}
    values = {**params, "mlflow_tracking_uri": server.get("mlflow_tracking_uri")}
    file = f"conf/{context.env or 'base'}/globals.yml"
    placeholders = [f"{file}: {name}: {value}" for name, value in values.items() if PLACEHOLDER.fullmatch(str(value))]
    if placeholders:
        raise AuthorizationError(not_filled_in(placeholders))


def _config(context: KedroContext, name: str) -> dict[str, Any]:
    try:
        # Of these files, only who sends a message needs a secret. A job does not fail because it is not there.
        with left_out():
            return context.config_loader[name] or {}
    except (KeyError, MissingConfigException):
        return {}
