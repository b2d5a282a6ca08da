"""Resolvers that replace secrets in ``credentials.yml``: ``${gcp.id_token:<audience>}``, ``${gcp.access_token:}``.

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
