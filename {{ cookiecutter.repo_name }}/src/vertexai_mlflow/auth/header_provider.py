"""Base class of the header providers that ``mlflow.yml`` names: Kedro context and ``init_kwargs`` in, headers out.

MLflow swallows what a provider raises, and sends the request without its header. kedro-mlflow registers a provider
again with each Kedro context, and MLflow then joins the headers of all of them. This class prevents both. MLflow also
sends the headers wherever it sends a request, so a guard looks at each address.
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

from ..errors import PLACEHOLDER, AuthorizationError, not_filled_in

_GUARD = "only-to-the-tracking-server"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RequestHeaderProviderWithKedroContext(RequestHeaderProvider):
    """Override ``in_context()``, whether there are headers to send, and ``request_headers()``, which returns them.

    Args:
        kedro_context: passed by kedro-mlflow when ``pass_context`` is true.
        init_kwargs: ``server.request_header_provider.init_kwargs`` of ``mlflow.yml``. ``self.params`` has them
            together with ``run_config.mlflow.request_header_provider_params`` of ``vertexai.yml``.

    Raises:
        AuthorizationError: when the two files contradict each other, or a placeholder has not been filled in.
    """

    # Each Kedro context registers one more provider. Only the one of the newest context sends headers, so this is known
    # to the class and not to an instance.
    _newest: ClassVar["RequestHeaderProviderWithKedroContext | None"] = None

    def __init__(self, kedro_context: KedroContext, **init_kwargs: Any) -> None:
        self.kedro_context = kedro_context
        self.params = _agreed(init_kwargs, kedro_context)
        _refuse_placeholders(self.params, kedro_context)
        RequestHeaderProviderWithKedroContext._newest = self
        os.environ.setdefault(MLFLOW_TRACKING_AUTH.name, _GUARD)

    def required(self, name: str) -> str:
        """A parameter that this provider cannot do without.

        Raises:
            AuthorizationError: when neither file has it.
        """
        if not (value := self.params.get(name)):
            raise AuthorizationError(f"mlflow.yml: server.request_header_provider.init_kwargs.{name} is missing.")
        return str(value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("in_context", "request_headers"):
            if name in cls.__dict__:
                setattr(cls, name, _guarded(cls.__dict__[name]))


def _guarded(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
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
        """By this name, the environment variable MLFLOW_TRACKING_AUTH chooses it."""
        return _GUARD

    def get_auth(self) -> Callable[[Any], Any]:
        """What ``requests`` calls with each request before it is sent."""
        return _guard


_request_auth_provider_registry.register(_Guard)


def _guard(request: Any) -> Any:
    _refuse_elsewhere(request.url)
    request.register_hook("response", _look_at_redirect)
    return request


def _look_at_redirect(answer: Any, **_: Any) -> None:
    if answer.is_redirect:
        _refuse_elsewhere(urljoin(answer.url, answer.headers["Location"]))


def _refuse_elsewhere(url: str) -> None:
    provider, server = RequestHeaderProviderWithKedroContext._newest, _origin(mlflow.get_tracking_uri())
    if provider and provider.in_context() and _origin(url) != server:
        raise AuthorizationError(
            f"The authorization header is for the tracking server at {server}, but a request would take it to "
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
            f"mlflow.yml: server.mlflow_tracking_uri is plain http to {host}, so anybody on the way could read the "
            f"authorization header. Use https, or allow it by name: init_kwargs.allow_http: {host}"
        )


def _agreed(init_kwargs: dict[str, Any], context: KedroContext) -> dict[str, Any]:
    """Join the parameters of ``mlflow.yml`` and ``vertexai.yml``, which must not contradict each other."""
    run_config = _config(context, "vertexai").get("run_config") or {}
    others = (run_config.get("mlflow") or {}).get("request_header_provider_params") or {}
    for name, value in others.items():
        if init_kwargs.get(name, value) != value:
            raise AuthorizationError(
                f"'{name}' is '{init_kwargs[name]}' in mlflow.yml (server.request_header_provider.init_kwargs) but "
                f"'{value}' in vertexai.yml (run_config.mlflow.request_header_provider_params). Remove one of them."
            )
    return {**others, **init_kwargs}


def _refuse_placeholders(params: dict[str, Any], context: KedroContext) -> None:
    server = _config(context, "mlflow").get("server") or {}
    values = {**params, "mlflow_tracking_uri": server.get("mlflow_tracking_uri")}
    file = f"conf/{context.env or 'base'}/globals.yml"
    left = [f"{file}: {name}: {value}" for name, value in values.items() if PLACEHOLDER.fullmatch(str(value))]
    if left:
        raise AuthorizationError(not_filled_in(left))


def _config(context: KedroContext, name: str) -> dict[str, Any]:
    try:
        return context.config_loader[name] or {}
    except (KeyError, MissingConfigException):
        return {}
