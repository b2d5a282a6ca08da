"""Messages about jobs, sent to a receiver on loopback that is well, slow, broken or not there."""

import json
import logging
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from fakes.google_identity import served

from vertexai_mlflow import notify as room
from vertexai_mlflow.contract.job import Outcome
from vertexai_mlflow.notify import body_of, notify, occasions_of

FAILED = Outcome(
    "train", "cloud", "demo-1", "FAILED", "fit", "ValueError: <!channel> & token=***", "https://console/demo-1",
    "https://mlflow/#/runs/1", "kedro vertexai -e cloud resume demo-1",
)  # fmt: skip
SUCCEEDED = Outcome("train", "cloud", "demo-2", "SUCCEEDED")
RECOVERED = Outcome("train", "cloud", "demo-2", "SUCCEEDED", is_recovery=True)
CONFIG = {"on": ["failure"], "webhook": "gcp.secret:chat,latest", "form": "json"}
PATH = "/services/T000/B000/verysecretpath"


class Receiver:
    """What a webhook answers, and what it has been told."""

    def __init__(self) -> None:
        self.status, self.delay, self.drips = 200, 0.0, False
        self.bodies: list[dict] = []
        self.address = ""


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == PATH
            receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(receiver.delay)
            if receiver.drips:
                for _ in range(40):
                    self.wfile.write(b"H")
                    self.wfile.flush()
                    time.sleep(0.1)
                return
            self.send_response(receiver.status)
            self.send_header("Location", receiver.address)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as host:
        receiver.address = f"http://{host}{PATH}"
        monkeypatch.setenv("KEDRO_SECRET_CHAT", f"{receiver.address}\n")
        monkeypatch.setattr(room, "TIMEOUT", 0.6)
        yield receiver


def test_a_receiver_gets_the_fields_of_a_failure(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)
    host = receiver.address.split("/")[2]
    assert notify(lambda: FAILED, CONFIG) == f"The webhook at {host} was told."
    (body,) = receiver.bodies
    assert (body["state"], body["failed_node"], body["resume"]) == (
        "FAILED", "fit", "kedro vertexai -e cloud resume demo-1",
    )  # fmt: skip
    assert "verysecretpath" not in caplog.text
    assert logging.getLogger("urllib3.connectionpool").level == logging.DEBUG


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 500}, "answers 500"),
        ({"status": 302}, "answers 302"),
        ({"delay": 2.0}, "cannot be reached (ReadTimeout)|does not answer within 1 s"),
        ({"drips": True}, "does not answer within 1 s"),
    ],
)
def test_a_receiver_that_is_not_well_is_a_line_of_the_log_and_nothing_more(receiver, changes, reason):
    for name, value in changes.items():
        setattr(receiver, name, value)
    began = time.monotonic()
    message = notify(lambda: FAILED, CONFIG)
    assert time.monotonic() - began < 1.5
    assert any(message.endswith(f" {part}.") for part in reason.split("|")), message
    assert "verysecretpath" not in message
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"http://127.0.0.1:9{PATH}", "the webhook at 127.0.0.1:9 cannot be reached (ConnectionError)"),
        (f"http://chat.example.com{PATH}", "the secret chat is not the https address of a webhook"),
        (None, "a job on this machine has no project to look in. Set KEDRO_SECRET_CHAT"),
    ],
)
def test_an_address_that_is_not_there_is_a_line_of_the_log(receiver, monkeypatch, address, reason):
    monkeypatch.delenv("KEDRO_SECRET_CHAT")
    if address:
        monkeypatch.setenv("KEDRO_SECRET_CHAT", address)
    message = notify(lambda: FAILED, CONFIG)
    assert reason in message
    assert "verysecretpath" not in message


def test_a_job_whose_outcome_cannot_be_told_is_none_the_worse_for_it(receiver):
    def ask() -> Outcome:
        raise RuntimeError("MLflow is down")

    assert notify(ask, CONFIG) == "Nobody was told. MLflow is down"
    assert receiver.bodies == []


@pytest.mark.parametrize(
    ("outcome", "occasions"),
    [(FAILED, {"failure"}), (SUCCEEDED, {"success"}), (RECOVERED, {"success", "recovery"})],
)
def test_who_wants_to_hear_of_what(receiver, outcome, occasions):
    assert occasions_of(outcome) == occasions
    for word in ("failure", "recovery", "success"):
        receiver.bodies.clear()
        message = notify(lambda: outcome, {**CONFIG, "on": [word]})
        assert (bool(message), len(receiver.bodies)) == ((True, 1) if word in occasions else (False, 0))


@pytest.mark.parametrize("form", ["slack", "google-chat"])
def test_text_from_outside_calls_nobody_in_a_chat(form):
    text = body_of(FAILED, form)["text"]
    assert text.splitlines() == [
        "*train* in cloud: FAILED",
        "Failed node: fit",
        "Error: ValueError: &lt;!channel&gt; &amp; token=***",
        "Job: <https://console/demo-1>",
        "MLflow run: <https://mlflow/#/runs/1>",
        "To go on from there: kedro vertexai -e cloud resume demo-1",
    ]
