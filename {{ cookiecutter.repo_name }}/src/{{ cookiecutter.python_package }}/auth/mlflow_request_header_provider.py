"""The base class of a header provider, under the name that it has in kedro-vertexai."""

from vertexai_mlflow.auth.header_provider import RequestHeaderProviderWithKedroContext

__all__ = ["RequestHeaderProviderWithKedroContext"]
