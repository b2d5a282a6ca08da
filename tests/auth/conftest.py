"""Google's endpoints on loopback, to which the unpatched google-auth of this process talks."""

import importlib
from collections.abc import Iterator

import mlflow
import pytest
from fakes.google_identity import Google, google_identity
from google.auth.compute_engine import _metadata

from vertexai_mlflow.auth import id_tokens, secrets


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory) -> Iterator[Google]:
    """Google's endpoints. google-auth reads the metadata server's address on import, so it is imported again."""
    with google_identity(tmp_path_factory.mktemp("google")) as google, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GCE_METADATA_HOST", google.environment["GCE_METADATA_HOST"])
        importlib.reload(_metadata)
        yield google
    importlib.reload(_metadata)


@pytest.fixture
def google(endpoints, tmp_path, monkeypatch) -> Iterator[Google]:
    """Make google-auth in this process talk to the endpoints, which answer without failures until a test says so."""
    for name, value in endpoints.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(id_tokens, "BACKOFF", (0.05, 0.1, 0.2))
    mlflow.set_tracking_uri("https://mlflow.example.com")
    id_tokens.impersonated.cache_clear()
    id_tokens.signed_jwt.cache_clear()
    id_tokens.ambient.cache_clear()
    secrets._ask.cache_clear()
    with endpoints.in_best_mood():
        yield endpoints
    mlflow.set_tracking_uri(None)
