"""What servers of several versions and with several apps answer, as seen of real ones, and what is said about it."""

from collections.abc import Iterator
from typing import ClassVar

import mlflow
import pytest
from fakes.google_identity import JsonHandler, served

from vertexai_mlflow import tracking
from vertexai_mlflow.contract.arguments import JobArguments
from vertexai_mlflow.contract.job import JobIdentity
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.tracking.failures import refusal

NOT_FOUND = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>"


class Server(JsonHandler):
    """The tracking server as far as asking about it goes."""

    version: ClassVar[tuple[int, str]] = (200, "3.17.2")
    api: ClassVar[tuple[int, str]] = (200, "{}")
    requests: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append(self.path)
        self.answer(*(self.version if self.path == "/version" else self.api))

    do_GET = do_POST


@pytest.fixture
def server(monkeypatch) -> Iterator[type[Server]]:
    server = type("OneServer", (Server,), {"requests": []})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with served(server) as address:
        mlflow.set_tracking_uri(f"http://{address}")
        yield server
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("version", ["2.22.2", "1.30.1", "4.0.0rc1"])
def test_a_server_of_another_major_version_is_refused_before_there_is_a_run(server, version):
    """Version 2.22 takes runs, metrics and files, and answers 404 when a step logs its model."""
    server.version = (200, version)
    for ask in (
        tracking.ask,
        lambda: tracking.start(JobIdentity("job-1"), JobArguments("mlflow-start-run", "p"), "", "demo", {}),
    ):
        with pytest.raises(UserError, match=rf"has version {version}, and this project logs with MLflow 3") as error:
            ask()
        assert "Upgrade the server" in str(error.value)
    assert set(server.requests) == {"/version"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, "3.17.2"), " (MLflow 3.17.2)"),
        ((200, "3.1.0\n"), " (MLflow 3.1.0)"),
        ((404, NOT_FOUND), ""),  # a proxy lets only the API through
        ((403, "Forbidden"), ""),
        ((200, "<html>Welcome, choose a service</html>"), ""),
    ],
)
def test_a_server_of_this_version_or_one_that_does_not_say_is_asked_further(server, answer, message):
    server.version = answer
    assert tracking.ask() == mlflow.get_tracking_uri() + message
    assert server.requests[1].startswith("/api/2.0/mlflow/experiments/search")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((403, "Permission denied"), "MLflow's own permissions do not allow this"),
        (
            (401, "You are not authenticated. Please see https://www.mlflow.org/docs"),
            "MLflow asks for a user of its own",
        ),
        ((403, "Invalid Host header - possible DNS rebinding attack detected"), "mlflow server --allowed-hosts"),
        ((401, "Invalid IAP credentials: empty token"), "Identity-Aware Proxy refuses the token"),
        ((403, "<html>You don't have access"), "Identity-Aware Proxy refuses the token"),
    ],
)
def test_a_refusal_names_who_refuses(server, answer, sentence):
    server.api = answer
    with pytest.raises(Exception, match=r"code 40\d|Invalid Host") as error:
        tracking.ask()
    message = refusal(str(error.value), error.value)
    assert sentence in message
    assert answer[1][:20] in message
