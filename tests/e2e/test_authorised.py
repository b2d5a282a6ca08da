"""Whole pipelines against a real MLflow server behind an authorizing proxy, with tokens that google-auth really got."""

import mlflow
import pytest
from fakes.google_identity import AMBIENT
from fakes.iap import identity_aware_proxy
from running import BIN, run
from small_cloud import ACCOUNT, CLIENT_ID, answers, name_experiment, sign_jwts

pytestmark = pytest.mark.slow


def the_run(mlflow_url: str, experiment: str) -> mlflow.entities.Run:
    client = mlflow.MlflowClient(mlflow_url)
    (mlflow_run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return mlflow_run


def test_the_example_runs_through_the_proxy_with_short_lived_tokens(bake, iap, google, mlflow_url):
    google.lifetime = 3
    project = bake(**answers(iap))
    name_experiment(project, "short_lived")
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert iap.refused == []
    assert iap.passed > 50
    mlflow_run = the_run(mlflow_url, "short_lived")
    assert mlflow_run.info.status == "FINISHED"
    assert mlflow_run.data.metrics["metrics.accuracy"] > 0.9
    client = mlflow.MlflowClient(mlflow_url)
    assert [item.path for item in client.list_artifacts(mlflow_run.info.run_id)] == ["confusion_matrix.png", "vertexai"]
    assert client.search_logged_models([mlflow_run.info.experiment_id])
    logs = "".join(log.read_text() for log in (project / ".vertexai").rglob("log.txt"))
    assert "eyJ" not in logs + done.stdout + done.stderr  # how every JWT begins
    assert "ambient-access-token" not in logs


def test_the_example_runs_through_a_proxy_whose_client_is_googles(bake, iap, google, mlflow_url):
    iap.is_google_managed = True
    project = bake(**answers(iap))
    name_experiment(project, "google_managed")
    command = [BIN / "kedro", "vertexai", "-e", "cloud", "run-local"]
    done = run(*command, cwd=project, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", **google.environment)
    assert done.returncode == 1
    assert "Invalid IAP credentials: audience" in done.stdout
    assert iap.passed == 0
    sign_jwts(project, lifetime=3)
    iap.refused.clear()
    done = run(*command, cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert iap.refused == []
    assert iap.passed > 50
    assert the_run(mlflow_url, "google_managed").info.status == "FINISHED"
    logs = "".join(log.read_text() for log in (project / ".vertexai").rglob("log.txt"))
    assert "eyJ" not in logs + done.stdout + done.stderr


BIG = """
import time
from pathlib import Path

import mlflow
from kedro.pipeline import Node, Pipeline


def big():
    path = Path("big.bin")
    path.write_bytes(b"x" * 100_000_000)
    mlflow.log_artifact(path)
    return 1


def long():
    for number in range(20):
        time.sleep(0.3)
        mlflow.log_metric("beat", number, step=number)
    return 2


def create_pipeline(**_kwargs):
    return Pipeline([Node(big, None, "a", name="big"), Node(long, None, "b", name="long")])
"""


def test_a_big_file_and_a_step_that_outlives_its_tokens_pass_side_by_side(with_pipeline, iap, google, mlflow_url):
    google.lifetime = 3
    project = with_pipeline(BIG, **answers(iap))
    name_experiment(project, "big_file")
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert iap.refused == []
    mlflow_run = the_run(mlflow_url, "big_file")
    artifact, _of_the_job = mlflow.MlflowClient(mlflow_url).list_artifacts(mlflow_run.info.run_id)
    assert (artifact.path, artifact.file_size) == ("big.bin", 100_000_000)
    assert mlflow_run.data.metrics["beat"] == 19


def test_without_the_grant_the_run_stops_and_no_request_goes_without_a_token(bake, iap, google):
    google.granted = False
    project = bake(**answers(iap))
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project, **google.environment)
    assert done.returncode == 1
    assert f"Grant this identity roles/iam.serviceAccountOpenIdTokenCreator on {ACCOUNT}." in done.stdout
    assert (iap.passed, iap.refused) == (0, [])


def test_a_token_that_the_proxy_does_not_take_is_a_failure_with_its_words(bake, iap, google):
    google.audience = "another-client"
    project = bake(**answers(iap))
    done = run(
        BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", **google.environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Invalid IAP credentials: audience another-client" in done.stdout
    assert set(iap.refused) == {"audience another-client"}


def test_placeholders_left_in_are_named_and_nothing_is_asked(bake, google):
    project = bake()
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project, **google.environment)
    assert done.returncode == 1
    assert (
        "Not filled in yet: conf/cloud/globals.yml: mlflow_tracking_uri: <https://mlflow.example.com>; "
        "conf/cloud/globals.yml: client_id: <oauth-client-id>; "
        "conf/cloud/globals.yml: service_account: <service-account-email>"
    ) in done.stderr
    assert google.requests == 0
    assert not (project / ".vertexai").exists()


def test_a_provider_of_ones_own_reaches_the_server(with_pipeline, mlflow_url, google):
    """The documented example, prefix changed; its token is got from the metadata server by hand."""
    trivial = "from kedro.pipeline import Node, Pipeline\n\ndef one():\n    return 1\n\ndef create_pipeline(**_):\n    return Pipeline([Node(one, None, 'x', name='one')])\n"
    with identity_aware_proxy(mlflow_url, google, CLIENT_ID, {AMBIENT}) as iap:
        project = with_pipeline(trivial, **answers(iap))
        name_experiment(project, "custom_provider")
        (project / "src/test_project/my_provider.py").write_text(
            "from cachetools import TTLCache, cached\n"
            "from google.auth.transport.requests import Request\n"
            "from google.oauth2.id_token import fetch_id_token\n\n"
            "from test_project.auth.mlflow_request_header_provider import RequestHeaderProviderWithKedroContext\n\n\n"
            "class MyCustomMLflowHeaderProvider(RequestHeaderProviderWithKedroContext):\n"
            "    def in_context(self):\n"
            '        return "my_auth_info" in self.params\n\n'
            "    @cached(TTLCache(1, ttl=3600))\n"
            "    def request_headers(self):\n"
            f'        token = fetch_id_token(Request(), "{CLIENT_ID}")\n'
            '        return {"Authorization": f"Bearer {token}", "X-My-Custom-Header": self.params["my_auth_info"]}\n'
        )
        (project / "conf/cloud/mlflow.yml").write_text(
            f"server:\n  mlflow_tracking_uri: {iap.url}\n  request_header_provider:\n"
            "    type: test_project.my_provider.MyCustomMLflowHeaderProvider\n    pass_context: true\n"
            '    init_kwargs:\n      my_auth_info: "17"\n'
        )
        done = run(BIN / "kedro", "vertexai", "-e", "cloud", "run-local", cwd=project, **google.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert iap.refused == []
        assert iap.headers["X-My-Custom-Header"] == "17"


def test_credentials_can_be_tokens_that_are_got_in_the_step(with_pipeline, google):
    """``${gcp.id_token:…}`` in credentials.yml; compiling does not ask for it."""
    source = "from kedro.pipeline import Node, Pipeline\n\ndef one(raw):\n    return raw\n\ndef create_pipeline(**_):\n    return Pipeline([Node(one, 'raw', 'x', name='one')])\n"
    project = with_pipeline(source)
    (project / "src/test_project/dataset.py").write_text(
        "from pathlib import Path\n\nfrom kedro.io import AbstractDataset\n\n\n"
        "class Secret(AbstractDataset):\n"
        "    def __init__(self, credentials):\n        self._credentials = credentials\n\n"
        "    def load(self):\n        Path('seen').write_text(self._credentials['token'])\n        return 1\n\n"
        "    def save(self, data):\n        pass\n\n"
        "    def _describe(self):\n        return {}\n"
    )
    (project / "conf/base/catalog.yml").write_text(
        "raw:\n  type: test_project.dataset.Secret\n  credentials: service\n"
    )
    (project / "conf/base/credentials.yml").write_text(
        "service:\n  token: ${gcp.id_token:https://service.example.com}\n"
    )
    assert run(BIN / "kedro", "vertexai", "compile", cwd=project, **google.environment).returncode == 0
    assert google.requests == 0
    done = run(BIN / "kedro", "vertexai", "run-local", cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "seen").read_text().startswith("eyJ")
