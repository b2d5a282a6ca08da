"""Header providers for an MLflow server behind Google's Identity-Aware Proxy: OAuth client id in, ID token out.

``vertexai_mlflow.auth.id_tokens`` gets the tokens, keeps each until shortly before it expires, and explains a failure.
"""

from vertexai_mlflow.auth.id_tokens import IdToken, ambient, impersonated

from .mlflow_request_header_provider import RequestHeaderProviderWithKedroContext


class MLFlowGoogleOauthRequestHeaderProvider(RequestHeaderProviderWithKedroContext):
    """Sends an ID token of the identity that the steps run as (metadata server, service account key)."""

    def in_context(self) -> bool:
        """There is always a header to send."""
        return True

    def request_headers(self) -> dict[str, str]:
        """The header with the token: ``Authorization``, unless ``init_kwargs`` has another name as ``header``."""
        return {self.params.get("header", "Authorization"): f"Bearer {self.id_token().get()}"}

    def id_token(self) -> IdToken:
        """The token, for the OAuth client ``client_id``."""
        return ambient(self.required("client_id"))


class MLFlowGoogleIAMRequestHeaderProvider(MLFlowGoogleOauthRequestHeaderProvider):
    """Sends an ID token of ``service_account``, which the identity that the steps run as impersonates."""

    def id_token(self) -> IdToken:
        """The token, for the OAuth client ``client_id``."""
        return impersonated(self.required("client_id"), self.required("service_account"))
