"""Resolvers that replace secrets in the configuration.

``${gcp.id_token:<audience>}``, ``${gcp.access_token:}``, ``${gcp.secret:<name>}``, ``${gcp.secret:<name>,<version>}``.

Kedro resolves them when a step loads its credentials. Compiling loads no credentials, so it asks Google for no token.
"""


def id_token(audience: str) -> str:
    """Get an ID token of the ambient identity for this audience."""
    from .id_tokens import ambient

    return ambient(audience).get()


def access_token() -> str:
    """Get an access token of the ambient identity."""
    from . import credentials

    return credentials.access_token()


def secret(name: str, version: str | int = "latest") -> str:
    """Get a secret of Secret Manager; on a laptop, an environment variable has it."""
    from . import secrets

    return secrets.in_configuration(name, version)
