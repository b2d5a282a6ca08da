"""Header providers for an MLflow server behind Google's Identity-Aware Proxy.

An OAuth client id or a service account goes in, and an ``Authorization`` header comes out.
``vertexai_mlflow.auth.id_tokens`` gets the tokens, keeps each until shortly before it
expires, and explains a failure.
"""

from vertexai_mlflow.auth.id_tokens import IdToken, ambient, impersonated, signed_jwt

from .mlflow_request_header_provider import RequestHeaderProviderWithKedroContext


class MLFlowGoogleOauthRequestHeaderProvider(RequestHeaderProviderWithKedroContext):
    """Sends an ID token of the identity that the steps run as."""

    def in_context(self) -> bool:
        """There is always a header to send."""
        return True

    def request_headers(self) -> dict[str, str]:
        """The header with the token; ``init_kwargs`` can name another ``header``."""
        name = self.params.get("header", "Authorization")
        return {name: f"Bearer {self.id_token().get()}"}

    def id_token(self) -> IdToken:
        """The token, for the OAuth client ``client_id``."""
        return ambient(self.required("client_id"))


class MLFlowGoogleIAMRequestHeaderProvider(MLFlowGoogleOauthRequestHeaderProvider):
    """Sends an ID token of ``service_account``, which that identity impersonates."""

    def id_token(self) -> IdToken:
        """The token, for the OAuth client ``client_id``."""
        service_account = self.required("service_account")
        return impersonated(self.required("client_id"), service_account)


class MLFlowGoogleIapJwtRequestHeaderProvider(MLFlowGoogleOauthRequestHeaderProvider):
    """Sends a JWT that ``service_account`` signs, for a proxy with a Google-managed client."""

    def id_token(self) -> IdToken:
        """The JWT, for the addresses of the server; ``lifetime`` is in seconds."""
        lifetime = str(self.params.get("lifetime", "3600"))
        return signed_jwt(self.server_urls, self.required("service_account"), lifetime)
