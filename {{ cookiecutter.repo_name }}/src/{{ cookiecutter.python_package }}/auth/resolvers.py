"""What ``credentials.yml`` may say instead of a secret: ``${gcp.id_token:<audience>}``, ``${gcp.access_token:}``.

Kedro resolves credentials when a context loads them, in the step; compiling does not load them.
"""


def id_token(audience: str) -> str:
    """ID token of the ambient identity for this audience."""
    from .gcp import ambient_id_token

    return ambient_id_token(audience)


def access_token() -> str:
    """Access token of the ambient identity."""
    from . import credentials

    return credentials.access_token()
