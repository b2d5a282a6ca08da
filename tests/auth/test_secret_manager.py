"""Secrets with the real google-auth, from a Secret Manager on loopback."""

import json
import sys
import threading

import pytest
from fakes.google_identity import AMBIENT, Google
from fakes.secret_manager import SecretManager

from vertexai_mlflow import errors
from vertexai_mlflow.auth import secrets
from vertexai_mlflow.auth.resolvers import secret
from vertexai_mlflow.checks.online import _check_secret
from vertexai_mlflow.contract import names
from vertexai_mlflow.contract.check import Doubt
from vertexai_mlflow.errors import AuthorizationError, UserError, keep_out, masked
from vertexai_mlflow.step.printed_text import hide_secrets

NAME = "projects/42/secrets/db-password"


@pytest.fixture
def manager(google: Google, monkeypatch) -> SecretManager:
    """A step of a job in project 42, and a Secret Manager with two versions of a secret."""
    monkeypatch.setattr(errors, "_KEPT_OUT", set())
    monkeypatch.setattr(secrets, "BACKOFF", (0.0, 0.0))
    monkeypatch.setenv(names.STEP_VARIABLE, "train")
    monkeypatch.setenv(names.PROJECT_VARIABLE, "42")
    manager = SecretManager({NAME: ["old pass/word", "new pass/word"]}, {(AMBIENT, NAME)})
    manager.serve(google)
    return manager


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("db-password",), "new pass/word"),
        (("db-password", "latest"), "new pass/word"),
        (("db-password", 1), "old pass/word"),
        ((NAME, "1"), "old pass/word"),
    ],
)
def test_a_step_gets_the_version_that_the_configuration_names(manager, arguments, value):
    assert secret(*arguments) == value


def test_a_process_asks_once_also_with_many_threads(manager):
    values: list[str] = []
    threads = [threading.Thread(target=lambda: values.append(secret("db-password"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ["new pass/word"] * 8
    assert manager.asked == [f"/v1/{NAME}/versions/latest:access"]


def test_a_secret_is_shown_by_no_message_from_then_on(manager):
    secret("db-password")
    assert masked("cannot log in with new pass/word at host") == "cannot log in with *** at host"
    assert masked("sql://user:new%20pass%2Fword@host") == "sql://host"


def test_a_secret_is_hidden_as_json_and_python_write_it():
    value = 'gr\u00fcn\\es "Wort"'
    keep_out(value)
    for text in (json.dumps({"password": value}), repr([value]), ascii(value), json.dumps(value, ensure_ascii=False)):
        assert "***" in masked(text)
        assert "Wort" not in masked(text)


def test_a_stream_hides_secrets_whichever_way_it_is_written_to(capsys, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    keep_out("a secret of streams")
    hide_secrets()
    sys.stdout.writelines(["one: a secret of streams\n", "two\n"])
    print("three: a secret of streams")
    assert capsys.readouterr().out == "one: ***\ntwo\nthree: ***\n"


def test_an_overloaded_secret_manager_is_asked_again(manager):
    manager.failures = [503, 429]
    assert secret("db-password") == "new pass/word"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("other",),
            "Grant the steps' service account roles/secretmanager.secretAccessor on the secret projects/42/se",
        ),
        (("db-password", 7), f"There is no version 7 of the secret {NAME}."),
        (("../x",), "name a secret of Secret Manager"),
        (("db-password", "../1"), "a version is a number, an alias, or latest"),
    ],
)
def test_a_secret_that_cannot_be_read_says_what_to_do(manager, arguments, message):
    with pytest.raises(AuthorizationError, match=message):
        secret(*arguments)


def test_a_laptop_has_its_secrets_in_the_environment(manager, monkeypatch):
    monkeypatch.delenv(names.STEP_VARIABLE)
    with pytest.raises(AuthorizationError, match="On this machine, set KEDRO_SECRET_DB_PASSWORD"):
        secret("db-password")
    # As in CI that does not have this secret.
    monkeypatch.setenv("KEDRO_SECRET_DB_PASSWORD", "")
    with pytest.raises(AuthorizationError, match="On this machine, set KEDRO_SECRET_DB_PASSWORD"):
        secret("db-password")
    monkeypatch.setenv("KEDRO_SECRET_DB_PASSWORD", "of the laptop")
    assert secret("db-password") == "of the laptop"
    assert manager.asked == []


def test_a_step_on_this_machine_needs_a_project_or_a_variable(manager, monkeypatch):
    monkeypatch.delenv(names.PROJECT_VARIABLE)
    with pytest.raises(AuthorizationError, match=r"Set KEDRO_SECRET_DB_PASSWORD, or name the secret's project"):
        secret("db-password")


def test_doctor_asks_as_the_steps_whether_they_may_read_a_secret_and_reads_none(manager, google):
    account = "pipeline@project-42.iam.gserviceaccount.com"
    with pytest.raises(UserError, match=f"Grant {account} roles/secretmanager.secretAccessor on {NAME}"):
        _check_secret("db-password", "42", account)
    manager.readers.add((account, NAME))
    assert _check_secret("db-password", "42", account) == f"{account} can read {NAME}"
    assert set(manager.asked) == {f"/v1/{NAME}:testIamPermissions"}
    google.impersonates = False
    with pytest.raises(Doubt, match="only their account can ask"):
        _check_secret("db-password", "42", account)


def test_where_nobody_is_going_to_need_a_secret_none_is_asked_for(manager):
    with secrets.left_out():
        assert secret("db-password") == "***"
    assert manager.asked == []
    assert secret("db-password") == "new pass/word"
