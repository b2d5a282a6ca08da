"""From a run to a registered model, and somebody who hears of it: real processes, a real MLflow, a real receiver."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import mlflow
import pytest
from fakes.google_identity import AMBIENT, served
from fakes.secret_manager import SecretManager
from pipeline_runs import only_run, runs, source, vertexai
from small_cloud import answers

from vertexai_mlflow.contract.places import sha256_of_model

pytestmark = pytest.mark.slow

SETTINGS = """\
  registry:
    model: model
    name: penguins
    gate: {metric: metrics.accuracy, min: 0.9, not_worse_than: champion}
  notify:
    on: [failure, recovery]
    webhook: ${gcp.secret:chat}
"""
HIDDEN = "T000/B000/verysecretpath"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict]]]:
    bodies: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as host:
        yield f"http://{host}/services/{HIDDEN}", bodies


def files_with(text: str, folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text.encode() in path.read_bytes()]


def add_settings(project: Path, text: str) -> None:
    file = project / "conf/base/vertexai.yml"
    file.write_text(file.read_text() + text)


def test_a_job_registers_its_model_and_tells_of_failures_and_of_the_first_success_after_them(
    bake, receiver, tmp_path_factory
):
    address, bodies = receiver
    project = bake()
    add_settings(project, SETTINGS)
    variables = {"KEDRO_SECRET_CHAT": address}
    printed = ""

    def run_local(*arguments: str) -> subprocess.CompletedProcess[str]:
        nonlocal printed
        done = vertexai(project, "run-local", *arguments, **variables)
        printed += done.stdout + done.stderr
        return done

    failed = run_local("--params", "forest.n_estimators=-1")
    assert failed.returncode == 1
    (message,) = bodies
    job = next(path.name for path in (project / ".vertexai").glob("[!.]*"))
    assert (message["state"], message["failed_node"], message["is_recovery"]) == ("FAILED", "train_forest", False)
    assert message["error"].startswith("InvalidParameterError")
    assert message["resume"] == f"kedro vertexai run-local --resume {job}"
    assert message["job_url"] == (project / ".vertexai" / job).as_uri()
    assert only_run(project).info.run_id in message["run_url"]
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    try:
        assert mlflow.MlflowClient().search_registered_models() == []

        done = run_local("--resume", job, "--params", "forest.n_estimators=100")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (len(bodies), bodies[1]["state"], bodies[1]["is_recovery"]) == (2, "SUCCEEDED", True)
        assert bodies[1]["registered"].startswith("penguins version 1, gate passed: metrics.accuracy 0.9")
        (model,) = mlflow.MlflowClient().search_registered_models()
        assert {name: str(version) for name, version in model.aliases.items()} == {"candidate": "1", "champion": "1"}
        (version,) = mlflow.MlflowClient().search_model_versions("name = 'penguins'")
        last, first = runs(project)
        assert version.run_id in (last.info.run_id, first.info.run_id)
        assert version.tags["vertexai_step"] == "choose-model"
        assert len(version.tags["data.raw_penguins"]) == 36
        folder = mlflow.artifacts.download_artifacts(
            "models:/penguins/1", dst_path=str(tmp_path_factory.mktemp("model"))
        )
        assert sha256_of_model(folder) == version.tags["sha256"]
    finally:
        mlflow.set_tracking_uri(None)
    assert files_with(HIDDEN, project) == []
    assert HIDDEN not in printed


HOOKS = """

from os import environ  # noqa: E402

from kedro.framework.hooks import hook_impl  # noqa: E402


class Failing:
    @hook_impl
    def after_context_created(self):
        if environ.get("VERTEXAI_STEP") in environ.get("FAILING", "").split(","):
            raise OSError("no network")


HOOKS = (Failing(),)
"""
AT_THE_END = """
from pathlib import Path

from kedro.pipeline import Node, Pipeline


def tell(job):
    Path("told.txt").write_text(job["state"])


def create_pipeline(**_kwargs):
    return Pipeline([Node(tell, "params:vertexai_job", None, name="tell")])
"""


def test_of_a_job_without_an_mlflow_run_people_hear_as_well(bake, receiver):
    """Its first task has failed; and then the last one cannot look into MLflow either."""
    address, bodies = receiver
    project = bake()
    add_settings(project, SETTINGS + "  on_exit_pipeline: at_the_end\n")
    settings = project / "src/test_project/settings.py"
    settings.write_text(settings.read_text() + HOOKS)
    folder = project / "src/test_project/pipelines/at_the_end"
    folder.mkdir()
    (folder / "__init__.py").write_text(AT_THE_END)
    for failing in ("mlflow-start-run", "mlflow-start-run,mlflow-finish-run"):
        (project / "told.txt").unlink(missing_ok=True)
        done = vertexai(project, "run-local", "-p", "penguins", KEDRO_SECRET_CHAT=address, FAILING=failing)
        assert done.returncode == 1, done.stdout
        assert (project / "told.txt").exists() == ("finish" not in failing)
        message = bodies.pop()
        assert bodies == []
        assert (message["state"], message["failed_node"], message["run_url"]) == ("FAILED", "mlflow-start-run", "")


LOCKED = """
from kedro.io import AbstractDataset

class Locked(AbstractDataset):
    def __init__(self, credentials):
        self._key = credentials["key"]

    def _load(self):
        return self._key

    def _save(self, data):
        raise NotImplementedError

    def _describe(self):
        return {}

"""


def test_a_secret_reaches_a_dataset_and_no_log_file_or_run(with_pipeline):
    """The node prints it, logs it, and fails with it in its message."""
    code = f"""
import logging
{LOCKED}
def use(key):
    Path("arrived").write_text(str(len(key)))
    logging.getLogger("my_project").warning("logged %s", key)
    print("printed", key)
    raise ValueError(f"cannot log in with {{key}}")
"""
    project = with_pipeline(source('Node(use, "locked", None, name="use")', code))
    (project / "conf/base/catalog.yml").write_text(
        "locked: {type: test_project.pipelines.under_test.Locked, credentials: door}\n"
    )
    (project / "conf/local/credentials.yml").write_text("door: {key: '${gcp.secret:door-key,2}'}\n")
    done = vertexai(project, "run-local", KEDRO_SECRET_DOOR_KEY="opensesame42")
    assert done.returncode == 1
    assert (project / "arrived").read_text() == "12", done.stdout
    assert only_run(project).data.tags["error"] == "ValueError: cannot log in with ***"
    for text in ("printed ***", "logged ***", "ValueError: cannot log in with ***"):
        assert files_with(text, project / ".vertexai"), text
    assert files_with("opensesame42", project) == []
    assert "opensesame42" not in done.stdout + done.stderr


SLOW = f"""
import time
{LOCKED}
def use(key):
    print("printed", key, flush=True)
    time.sleep(SECONDS)
    raise ValueError(f"cannot log in with {{key}}")
"""


@pytest.fixture
def secretive(with_pipeline, launchable, google, iap, receiver):
    """A project whose node needs a secret, and whose webhook is one, and the Secret Manager that has both."""
    address, _bodies = receiver
    parent = "projects/project-42/secrets"
    manager = SecretManager({f"{parent}/door-key": ["old", "opensesame42"], f"{parent}/chat": [address]})
    manager.readers = {(AMBIENT, secret) for secret in manager.secrets}
    manager.serve(google)

    def secretive(seconds: int) -> tuple[Path, SecretManager]:
        code = SLOW.replace("SECONDS", str(seconds))
        project = with_pipeline(source('Node(use, "locked", None, name="use")', code), **answers(iap))
        (project / "conf/base/catalog.yml").write_text(
            "locked: {type: test_project.pipelines.under_test.Locked, credentials: door}\n"
        )
        (project / "conf/cloud/credentials_secrets.yml").write_text("door: {key: '${gcp.secret:door-key}'}\n")
        return launchable(project, "notify: {on: [failure], webhook: '${gcp.secret:chat,1}', form: slack}"), manager

    return secretive


def test_a_step_on_vertex_asks_secret_manager_once_and_nobody_else_does(secretive, google, vertex, receiver, tmp_path):
    project, manager = secretive(seconds=0)
    planned = vertexai(project, "-e", "cloud", "compile", **google.environment)
    assert planned.returncode == 0, planned.stderr
    assert manager.asked == []
    done = vertexai(project, "-e", "cloud", "run-once", "--wait-for-completion", **google.environment)
    assert done.returncode == 1, done.stdout + done.stderr
    (message,) = receiver[1]
    assert (
        "*__default__* in cloud: FAILED\nFailed node: use\nError: ValueError: cannot log in with ***" in message["text"]
    )
    assert "To go on from there: kedro vertexai -e cloud resume " in message["text"]
    parent = "/v1/projects/project-42/secrets"
    # Three processes load credentials: the first task, the step, the last task, which alone sends a message.
    assert Counter(manager.asked) == {
        f"{parent}/door-key/versions/latest:access": 3, f"{parent}/chat/versions/1:access": 1,
    }  # fmt: skip
    assert files_with("printed ***", tmp_path)
    for secret in ("opensesame42", HIDDEN):
        assert files_with(secret, tmp_path) == []
        assert secret not in done.stdout + done.stderr + json.dumps(list(vertex.jobs.values()))


def test_who_cancels_a_job_tells_of_it(secretive, google, vertex, receiver):
    project, _manager = secretive(seconds=60)
    launched = vertexai(project, "-e", "cloud", "run-once", "--job-id", "long", **google.environment)
    assert launched.returncode == 0, launched.stderr
    deadline = time.monotonic() + 60
    while not files_with("printed ***", project.parent):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    done = vertexai(project, "-e", "cloud", "cancel", "long", **google.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The webhook at 127.0.0.1:" in done.stderr
    (message,) = receiver[1]
    assert message["text"].startswith("*__default__* in cloud: CANCELLED\nJob: <https://console.cloud.google.com/")
    assert HIDDEN not in done.stdout + done.stderr
    again = vertexai(project, "-e", "cloud", "status", "long", **google.environment)
    assert (again.returncode, len(receiver[1])) == (0, 1)


def test_a_secret_may_not_be_a_parameter(bake):
    project = bake()
    (project / "conf/base/parameters_door.yml").write_text("password: ${gcp.secret:door-key}\n")
    done = vertexai(project, "compile", KEDRO_SECRET_DOOR_KEY="opensesame42")
    assert done.returncode == 1
    assert "conf/base/parameters_door.yml: password: ${gcp.secret:door-key} may not be a parameter" in done.stderr


def test_an_address_in_a_file_is_refused_and_not_quoted(bake):
    project = bake()
    add_settings(project, f"  notify: {{webhook: 'https://chat.example.com/{HIDDEN}'}}\n")
    done = vertexai(project, "compile")
    assert done.returncode == 1
    assert "run_config.notify: whoever knows the address of a webhook can write to it" in done.stderr
    assert HIDDEN not in done.stdout + done.stderr


def test_a_model_that_nothing_makes_is_named(bake):
    project = bake()
    add_settings(project, "  registry: {model: modle, name: penguins}\n")
    done = vertexai(project, "compile")
    assert done.returncode == 1
    assert "run_config.registry.model: modle: this must be a dataset of catalog.yml" in done.stderr
