"""The client with Google's real libraries, against a stand-in that reads requests as Vertex AI does."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.google_apis import Cloud
from fakes.google_identity import AMBIENT, Google, Refused
from fakes.vertex import Refusal, vertex_ai
from fakes.vertex import Vertex as Service
from fakes.vertex.schedules import fire
from google.protobuf import json_format
from kedro.pipeline import Node, Pipeline
from kfp import dsl
from rich.console import Console
from running import environment

from vertexai_mlflow.checks.machines import (
    check_acts_as_itself,
    check_machine_types,
    check_persistent_resource,
    check_quotas,
)
from vertexai_mlflow.cloud import client, rest
from vertexai_mlflow.cloud.client import Vertex
from vertexai_mlflow.cloud.permissions import suggest_fix
from vertexai_mlflow.cloud.request import is_elsewhere, labels_of, make_request
from vertexai_mlflow.cloud.schedules import changes, find_foreign, make_schedule
from vertexai_mlflow.commands.follow import with_custom_jobs
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.datasets import Step
from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.check import Doubt
from vertexai_mlflow.contract.job import PipelineJob, TaskRun
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig, ScheduleConfig, Settings, Target
from vertexai_mlflow.settings.resources import Resources
from vertexai_mlflow.show.tables import job_as_dict, job_as_markdown, job_as_table

ACCOUNT = "pipeline@project-42.iam.gserviceaccount.com"
LABELS = labels_of("demo", "cloud", "train")


@dsl.container_component
def say(text: str):
    return dsl.ContainerSpec(image="x", command=["printf", "%s"], args=[text])


@dsl.container_component
def fail():
    return dsl.ContainerSpec(image="x", command=["sh", "-c", "exit 3"])


@dsl.container_component
def last(status: dsl.PipelineTaskFinalStatus):
    return dsl.ContainerSpec(image="x", command=["printf", "%s"], args=["{{$.inputs.parameters['status']}}"])


def spec(broken: bool = False) -> dict[str, Any]:
    @dsl.pipeline(name="demo")
    def pipeline(text: str = "hello"):
        with dsl.ExitHandler(last(), name="all of it"):
            first = say(text=text)
            first.set_display_name("Say it")
            if broken:
                fail().after(first)

    return json_format.MessageToDict(pipeline.pipeline_spec)


@pytest.fixture
def service(identity: Google, tmp_path: Path) -> Iterator[Service]:
    with vertex_ai(
        project="project-42", region="europe-west1", cwd=tmp_path, folder=tmp_path / "jobs", environment=environment()
    ) as service:
        yield service


def client_of(service: Service, patience: float) -> Vertex:
    """The client, which asks again soon: the stand-in is near."""
    return Vertex(Target("project-42", "europe-west1", service.url), patience=patience, pause=0.05)


@pytest.fixture
def vertex(service: Service) -> Vertex:
    return client_of(service, patience=12)


def settings(config: RunConfig) -> Settings:
    return Settings(project_id="project-42", region="europe-west1", run_config=config)


def request(*, broken: bool = False, **run_config: Any) -> dict[str, Any]:
    config = RunConfig(**{"image": "x", "root": "gs://bucket/demo", "service_account": ACCOUNT, **run_config})
    return make_request(spec(broken), settings(config), name="demo", params={}, labels=LABELS, where="f")


def posts(service: Service) -> int:
    return sum(asked.startswith("POST") and asked.endswith("/pipelineJobs") for asked in service.requests)


@pytest.mark.slow
def test_a_job_is_followed_to_its_end_by_the_names_that_its_tasks_have_in_the_spec(vertex, service):
    job, was_there = vertex.submit(request(), "one")
    assert (job.name, was_there, job.pipeline) == ("one", False, "train")
    changed: list[TaskRun] = []
    done = vertex.follow("one", changed.append, pytest.fail)
    assert done.state == "SUCCEEDED"
    # Vertex AI lists the job and its exit handler among the tasks, and tasks by the names that people see.
    assert [detail["taskName"] for detail in service.jobs[job.resource_name]["jobDetail"]["taskDetails"]] == [
        "one", "all of it", "Say it", "last",
    ]  # fmt: skip
    assert set(done.tasks) == {"say", "last"}
    assert [(task.name, task.state) for task in changed][-1] == ("last", "SUCCEEDED")
    number = done.tasks["say"].containers[0].rpartition("/")[2]
    assert service.logs[number].read_text() == "hello"
    assert f"%22{number}%22" in done.tasks["say"].log
    assert (
        done.url
        == "https://console.cloud.google.com/vertex-ai/locations/europe-west1/pipelines/runs/one?project=project-42"
    )
    assert done.started <= done.ended
    say_it = done.tasks["say"]
    assert say_it.created <= say_it.started <= say_it.ended
    assert say_it.created <= say_it.attempts[0] <= say_it.ended
    (task,) = [task for task in job_as_dict(done)["tasks"] if task["name"] == "say"]
    assert datetime.fromisoformat(task["ended"]) == say_it.ended


@pytest.mark.slow
def test_a_failed_job_says_which_task_and_why(vertex):
    vertex.submit(request(broken=True), "two")
    done = vertex.follow("two", lambda task: None, pytest.fail)
    assert done.state == "FAILED"
    assert (done.tasks["fail"].state, done.tasks["fail"].error) == ("FAILED", "exit code 3")
    assert [task.name for task in done.failed_tasks] == ["fail"]
    assert "The failed tasks are: [all of it]." in done.error


def test_a_launch_is_one_call_that_has_all_settings_in_it(vertex, service):
    service.execute = False
    vertex.submit(
        request(
            network={"vpc": "projects/1/global/networks/vpc"},
            encryption_spec_key_name="projects/project-42/locations/europe-west1/keyRings/r/cryptoKeys/k",
            labels={"team": "birds"},
        ),
        "whole",
    )
    assert service.requests == ["POST /v1/projects/project-42/locations/europe-west1/pipelineJobs"]
    (job,) = service.jobs.values()
    assert job["serviceAccount"] == ACCOUNT
    assert job["network"] == "projects/1/global/networks/vpc"
    assert job["encryptionSpec"] == {"kmsKeyName": "projects/project-42/locations/europe-west1/keyRings/r/cryptoKeys/k"}
    assert job["labels"]["team"] == "birds"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/demo"


def test_the_same_job_id_starts_no_second_job(vertex, service):
    service.execute = False
    vertex.submit(request(), "same")
    job, was_there = vertex.submit(request(), "same")
    assert (job.name, was_there) == ("same", True)
    assert len(service.jobs) == 1
    with pytest.raises(
        UserError,
        match=r"--job-id same: this id belongs to another job \(PENDING\), which differs in "
        r"runtimeConfig.gcsOutputDirectory. Choose another id.",
    ):
        vertex.submit(request(root="gs://bucket/other"), "same")


# What somebody else's job or schedule has, with the labels of ours.
FORGERIES = {
    "pipelineSpec": {"pipelineSpec": {**spec(), "sdkVersion": "another"}},
    "serviceAccount": {"serviceAccount": "evil@project-42.iam.gserviceaccount.com"},
    "runtimeConfig.gcsOutputDirectory": {"runtimeConfig": {"gcsOutputDirectory": "gs://evil/place"}},
    "encryptionSpec.kmsKeyName": {
        "encryptionSpec": {"kmsKeyName": "projects/project-42/locations/europe-west1/keyRings/evil/cryptoKeys/k"}
    },
    "pscInterfaceConfig.networkAttachment": {"pscInterfaceConfig": {"networkAttachment": "evil"}},
}


@pytest.mark.parametrize("field", FORGERIES)
def test_a_job_with_our_id_and_our_labels_is_not_ours_if_it_is_another_one(field, vertex, service):
    service.execute = False
    desired = request()
    vertex.submit({**desired, **FORGERIES[field]}, "ci-1-1")
    with pytest.raises(UserError, match=rf"this id belongs to another job \(PENDING\), which differs in {field}\."):
        vertex.submit(desired, "ci-1-1")


@pytest.mark.parametrize("field", FORGERIES)
def test_a_schedule_with_our_labels_is_made_ours_if_its_job_is_another_one(field, vertex, service):
    desired = schedule()
    job = desired["createPipelineJobRequest"]["pipelineJob"]
    vertex.create_schedule({**desired, "createPipelineJobRequest": {"pipelineJob": {**job, **FORGERIES[field]}}})
    (change,) = changes([desired], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert change.action in ("updated", "replaced")
    assert list(change.differences) == [f"createPipelineJobRequest.pipelineJob.{field}"]


@pytest.mark.parametrize("lists_labels", [True, False])
def test_another_project_with_our_names_keeps_its_schedules_and_its_jobs(lists_labels, vertex, service):
    service.execute, service.lists_labels = False, lists_labels
    theirs = {"root": "gs://theirs/demo", "service_account": "theirs@project-42.iam.gserviceaccount.com"}
    config = RunConfig(image="x", root="gs://bucket/demo/", service_account=ACCOUNT)
    for number, place in enumerate([theirs, {}, theirs]):
        vertex.submit(request(**place), f"job-{number}")
    jobs = vertex.jobs(LABELS, 1, lambda job: not is_elsewhere(job.service_account, job.root, config))
    assert [job.name for job in jobs] == ["job-1"]
    desired = schedule()
    for place in (theirs, {}):
        vertex.create_schedule({**desired, "createPipelineJobRequest": {"pipelineJob": request(**place)}})
    existing = vertex.schedules()
    assert find_foreign(existing, config) == existing[:1]


@pytest.mark.parametrize("account", [None, ACCOUNT])
def test_what_google_fills_in_is_no_difference(account, vertex, service):
    service.execute = False
    desired = request(service_account=account, preflight_validations=True)
    desired["runtimeConfig"]["parameterValues"] = {"text": "hello"}
    vertex.submit(desired, "one")
    assert vertex.submit(desired, "one")[1]
    timed = make_schedule(ScheduleConfig(cron_expression="0 6 * * *"), desired, "f")
    vertex.create_schedule(timed)
    (change,) = changes([timed], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert (change.action, change.differences) == ("unchanged", None)


def test_what_only_looks_like_the_default_account_is_a_difference(vertex, service):
    service.execute = False
    desired = request(service_account=None)
    vertex.submit({**desired, "serviceAccount": "666-compute@developer.gserviceaccount.com.evil.example"}, "one")
    with pytest.raises(UserError, match="which differs in serviceAccount"):
        vertex.submit(desired, "one")


@pytest.mark.parametrize("failures", [[503], [429, 500], [502, 504], [-2], [0], [-1], [-1, 503]])
def test_a_launch_that_fails_for_the_moment_is_tried_again_and_starts_one_job(vertex, service, failures, monkeypatch):
    """0 drops the connection before the job starts. -1 drops it afterwards, and the next attempt finds the job.

    -2 says nothing until the client's time is up.
    """
    monkeypatch.setattr(client, "_TIMEOUT", 0.5)
    service.silence = 1
    service.execute = False
    service.failures = list(failures)
    job, was_there = vertex.submit(request(), "again")
    assert (job.name, was_there) == ("again", False)
    assert len(service.jobs) == 1
    assert posts(service) == len(failures) + 1


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_not_tried_again(vertex, service, status):
    service.failures = [status]
    with pytest.raises(UserError):
        vertex.submit(request(), "refused")
    assert posts(service) == 1


def test_the_user_is_told_when_vertex_fails_at_every_attempt(service):
    service.failures = [503] * 50
    started = time.monotonic()
    with pytest.raises(
        UserError,
        match=r"^http://127.0.0.1:\d+ does not answer, although it was asked several times. \(ServiceUnavailable",
    ):
        client_of(service, patience=0.5).get("x")
    assert time.monotonic() - started < 10


def test_the_user_is_told_when_vertex_cannot_be_reached(service):
    service.url = "http://127.0.0.1:9"
    with pytest.raises(UserError, match=r"^http://127.0.0.1:9 does not answer"):
        client_of(service, patience=0.5).get("x")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"enabled": False}, "The API aiplatform.googleapis.com is not enabled. Enable it: gcloud services enable aiplatform.googleapis.com --project project-42"),
        ({"denied": {"aiplatform.pipelineJobs.create"}}, "Grant this identity roles/aiplatform.user on project project-42."),
        ({"denied": {"iam.serviceAccounts.actAs"}}, f"Grant this identity roles/iam.serviceAccountUser on {ACCOUNT}."),
        (
            {"refusal": Refusal(400, f'Service account `{ACCOUNT}` does not have `[storage.objects.get, storage.objects.create]` IAM permission(s) to the bucket "bucket". Please either copy the files')},
            f"Grant {ACCOUNT} roles/storage.objectUser on gs://bucket.",
        ),
        (
            {"refusal": Refusal(403, "Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' denied on resource 'projects/p/locations/l/keyRings/r/cryptoKeys/k' (or it may not exist).", "IAM_PERMISSION_DENIED")},
            "Grant this identity roles/cloudkms.cryptoKeyEncrypterDecrypter on projects/p/locations/l/keyRings/r/cryptoKeys/k.",
        ),
        (
            {"refusal": Refusal(403, "Caller does not have required permission to use project project-42.", "USER_PROJECT_DENIED")},
            "Grant this identity roles/serviceusage.serviceUsageConsumer on project project-42.",
        ),
        ({"token": "another"}, "Google does not accept these credentials. Log in: gcloud auth application-default login"),
        ({"project": "other"}, "Grant this identity roles/aiplatform.user on project project-42, or correct project_id."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(vertex, service, change, sentence):
    for name, value in change.items():
        setattr(service, name, value)
    with pytest.raises(UserError) as error:
        vertex.submit(request(), "refused")
    assert str(error.value).startswith(sentence)
    assert "POST http" not in str(error.value)  # Google's client puts a URL in front of Google's message
    assert not service.jobs


@pytest.mark.slow
def test_a_job_that_fails_fast_and_runs_in_a_network_of_its_own_is_taken(vertex, service):
    asked = request(broken=True, failure_policy="fail_fast", psc_interface_config={"network_attachment": "a"})
    vertex.submit(asked, "fast")
    vertex.follow("fast", lambda task: None, pytest.fail)
    (job,) = service.jobs.values()
    assert job["pscInterfaceConfig"] == {"networkAttachment": "a"}
    assert job["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST"


@pytest.mark.parametrize("agent", ["service-7@gcp-sa-aiplatform-cc.iam.gserviceaccount.com", "service-7@gcp-sa-aiplatform.iam.gserviceaccount.com"])  # fmt: skip
def test_a_job_whose_image_the_service_agent_may_not_pull_says_what_to_grant(vertex, service, agent):
    service.setback = f"Vertex AI Service Agent {agent} does not have permission to access Artifact Registry repository"
    asked = request()
    for executor in asked["pipelineSpec"]["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = "europe-west1-docker.pkg.dev/project-42/images/demo:1"
    vertex.submit(asked, "unpulled")
    done = vertex.follow("unpulled", lambda task: None, pytest.fail)
    assert (done.state, done.tasks) == ("FAILED", {})
    assert done.error.endswith(
        "Allow it: gcloud artifacts repositories add-iam-policy-binding images --location=europe-west1 "
        f"--project=project-42 --member=serviceAccount:{agent} --role=roles/artifactregistry.reader"
    )
    assert done.error in job_as_markdown(done, None)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"network": {"vpc": "my-vpc"}}, "network 'my-vpc' must be projects/<number>/global/networks/<name>"),
        ({"encryption_spec_key_name": "projects/p/locations/us/keyRings/r/cryptoKeys/k"}, "The key must be in region europe-west1"),
    ],
)  # fmt: skip
def test_a_request_that_vertex_finds_wrong_is_explained_in_its_own_words(vertex, wrong, sentence):
    with pytest.raises(UserError) as error:
        vertex.submit(request(**wrong), "wrong")
    assert str(error.value).startswith(f"Vertex AI refuses the request: {sentence}")


def test_the_stand_in_refuses_memory_in_units_that_vertex_ai_does_not_document(vertex):
    asked = request()
    for executor in asked["pipelineSpec"]["deploymentSpec"]["executors"].values():
        executor["container"]["resources"] = {"resourceMemoryLimit": "2Gi"}
    with pytest.raises(UserError, match="memory limit '2Gi' is not a number with the suffix G or M"):
        vertex.submit(asked, "units")


def test_the_stand_in_refuses_a_field_that_it_does_not_know(vertex, service):
    """The stand-in is as strict as Vertex AI: it refuses an unknown field and a broken spec."""
    import requests as http

    url = f"{service.url}/v1/{service.parent}/pipelineJobs?pipelineJobId=x"
    header = {"Authorization": f"Bearer {service.token}"}
    good = request()
    broken = {**good, "pipelineSpec": {**good["pipelineSpec"], "rooot": {}}}
    for body, message in [({**good, "experiment": "x"}, "experiment"), (broken, "rooot")]:
        answer = http.post(url, json=body, headers=header, timeout=10)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]
    assert not service.jobs


@pytest.mark.slow
def test_following_goes_on_when_vertex_fails_for_a_while(vertex, service):
    vertex.submit(request(), "bumpy")
    service.failures = [503, 0, 429, 502, 504]
    troubles: list[str] = []
    done = vertex.follow("bumpy", lambda task: None, troubles.append)
    assert done.state == "SUCCEEDED"
    assert [trouble.split(":")[0] for trouble in troubles] == [
        "ServiceUnavailable", "ConnectionError", "TooManyRequests", "BadGateway", "GatewayTimeout",
    ]  # fmt: skip


def test_a_job_that_does_not_exist_is_named(vertex):
    with pytest.raises(UserError, match=r"^There is no job nope in project project-42, region europe-west1."):
        vertex.get("nope")


def test_jobs_are_listed_newest_first_page_by_page_without_their_tasks(vertex, service):
    service.execute = False
    for number in range(7):
        vertex.submit(request(), f"job-{number}")
    other = request()
    other["labels"]["kedro_project"] = "other"
    vertex.submit(other, "stranger")
    assert [job.name for job in vertex.jobs(LABELS, limit=3)] == ["job-6", "job-5", "job-4"]
    assert [job.name for job in vertex.jobs(LABELS, limit=100)] == [f"job-{number}" for number in range(6, -1, -1)]
    assert {job.pipeline for job in vertex.jobs(LABELS, limit=3)} == {"train"}
    assert len(vertex.jobs({}, limit=100)) == 8


@pytest.mark.slow
def test_a_job_joins_its_experiment_which_is_created_when_missing(vertex, service):
    vertex.submit(request(), "with-experiment")
    vertex.join_experiment("with-experiment", "birds", "All about birds")
    vertex.follow("with-experiment", lambda task: None, pytest.fail)
    vertex.submit(request(), "second")
    vertex.join_experiment("second", "birds", "Something else")
    (experiment,) = [context for context in service.contexts.values() if context["schemaTitle"] == "system.Experiment"]
    assert experiment["schemaTitle"] == "system.Experiment"
    assert experiment["description"] == "All about birds"
    contexts = f"{service.parent}/metadataStores/default/contexts"
    assert experiment["children"] == [f"{contexts}/with-experiment", f"{contexts}/second"]


def test_a_job_does_not_join_what_has_the_name_of_an_experiment_and_is_none(vertex, service):
    """The pipeline itself has a context of its name."""
    vertex.submit(request(), "namesake")
    with pytest.raises(
        UserError, match=r"^demo is a context of type system.Pipeline and no experiment\. Choose another"
    ):
        vertex.join_experiment("namesake", "demo", None)
    (pipeline,) = service.contexts.values()
    assert "children" not in pipeline


def schedule(**values: Any) -> dict[str, Any]:
    job = request()
    job["labels"]["kedro_schedule"] = "train"
    return make_schedule(ScheduleConfig(**{"cron_expression": "0 6 * * *", **values}), job, "f")


def test_a_schedule_is_read_back_as_it_was_asked_for(vertex, service):
    """The answer of Vertex AI decides whether a schedule has changed."""
    wanted = schedule(
        timezone="Europe/Berlin", start_time="2030-01-01T00:00:00+01:00", end_time="2031-01-01T00:00:00Z",
        max_run_count=5, max_concurrent_run_count=2, allow_queueing=True,
    )  # fmt: skip
    vertex.create_schedule(wanted)
    (change,) = changes([wanted], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert (change.action, change.differences) == ("unchanged", None)


def test_a_start_time_in_the_past_launches_nothing_for_the_days_since_then(vertex, service):
    wanted = schedule(start_time="2026-01-01T00:00:00Z")
    vertex.create_schedule(wanted)
    (created,) = vertex.schedules()
    assert created.get("startedRunCount", "0") == "0"
    (change,) = changes([wanted], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert (change.action, change.differences) == ("unchanged", None)


@pytest.mark.parametrize(("most", "launched"), [(1, [True, False, True]), (2, [True, True, True])])
def test_a_job_that_takes_longer_than_the_interval_keeps_the_next_one_from_starting(vertex, service, most, launched):
    """Google's maxConcurrentRunCount limits how many jobs are started at once, and not how many are active."""
    service.execute = False
    vertex.create_schedule(schedule(max_concurrent_run_count=most))
    (name,) = service.schedules
    moments = [fire(service, name), fire(service, name)]
    for job in list(service.jobs.values()):
        job["state"] = "PIPELINE_STATE_SUCCEEDED"
    assert [*moments, fire(service, name)] == launched
    (there,) = service.schedules.values()
    assert int(there["maxConcurrentRunCount"]) >= 1


def test_a_schedule_of_before_gets_the_limit_of_active_jobs(vertex, service):
    desired = schedule()
    vertex.create_schedule({key: value for key, value in desired.items() if key != "maxConcurrentActiveRunCount"})
    (change,) = changes([desired], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert (change.action, change.differences) == ("updated", {"maxConcurrentActiveRunCount": (None, "1")})
    vertex.update_schedule(change.there["name"], desired, list(change.differences))
    (change,) = changes([desired], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert change.action == "unchanged"


def test_a_schedule_whose_labels_are_not_listed_is_found_and_not_made_a_second_time(vertex, service):
    service.lists_labels = False
    wanted, ours = schedule(), labels_of("demo", "cloud")
    vertex.create_schedule(wanted)
    (change,) = changes([wanted], vertex.schedules(), ours, ["train"], prune=True)
    assert (change.action, change.differences) == ("unchanged", None)
    (change,) = changes([schedule(cron_expression="0 7 * * *")], vertex.schedules(), ours, ["train"], prune=True)
    assert (change.action, list(change.differences)) == ("updated", ["cron"])
    other = schedule()
    other["createPipelineJobRequest"]["pipelineJob"]["labels"] |= labels_of("demo", "prod", "train")
    theirs = make_schedule(
        ScheduleConfig(cron_expression="0 6 * * *"), other["createPipelineJobRequest"]["pipelineJob"], "f"
    )
    (change,) = changes([theirs], vertex.schedules(), labels_of("demo", "prod"), ["train"], prune=True)
    assert change.action == "created"


def test_a_completed_schedule_launches_nothing_more_for_another_image(vertex, service):
    vertex.create_schedule(schedule(max_run_count=3))
    (there,) = service.schedules.values()
    there["state"] = "COMPLETED"
    wanted = schedule(max_run_count=3)
    job = wanted["createPipelineJobRequest"]["pipelineJob"]
    job["labels"] = {**job["labels"], "kedro_fingerprint": "2"}
    job["pipelineSpec"] = {**job["pipelineSpec"], "sdkVersion": "another"}
    (change,) = changes([wanted], vertex.schedules(), labels_of("demo", "cloud"), ["train"], prune=True)
    assert change.action == "completed"


def test_a_schedule_is_changed_in_place_and_deleted(vertex, service):
    vertex.create_schedule(schedule())
    (before,) = vertex.schedules()
    vertex.update_schedule(before["name"], schedule(cron_expression="0 7 * * *"), ["cron", "createPipelineJobRequest"])
    (after,) = vertex.schedules()
    assert (after["name"], after["cron"]) == (before["name"], "TZ=Etc/UTC 0 7 * * *")
    vertex.delete_schedule(after["name"])
    assert vertex.schedules() == []


def test_a_schedule_that_replaces_a_paused_one_is_paused(vertex):
    vertex.create_schedule(schedule(), paused=True)
    assert [created["state"] for created in vertex.schedules()] == ["PAUSED"]


def test_a_job_can_be_cancelled(vertex, service):
    service.execute = False
    vertex.submit(request(), "idle")
    vertex.cancel("idle")
    assert vertex.get("idle").state == "CANCELLING"


@pytest.mark.parametrize("job_id", ["../../other", "a/b", "x?alt=y", "x#y", "A", "x:cancel", "", "a b", "x%2Fy"])
def test_a_job_id_that_is_none_is_refused_before_vertex_is_asked(vertex, service, job_id):
    for ask in (vertex.get, vertex.cancel):
        with pytest.raises(UserError, match="is not a job id"):
            ask(job_id)
    assert service.requests == []


@pytest.fixture
def login(identity: Google, tmp_path: Path, monkeypatch) -> Callable[[str], None]:
    """Log in as `gcloud auth application-default login` does, which writes gcloud's project into the file."""

    def login(quota_project: str) -> None:
        user = {"type": "authorized_user", "client_id": "x", "client_secret": "y", "refresh_token": "z"}
        file = tmp_path / "application_default_credentials.json"
        file.write_text(json.dumps(user | ({"quota_project_id": quota_project} if quota_project else {})))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    monkeypatch.setattr(identity, "open_hosts", {"oauth2.googleapis.com"})
    token = {"access_token": "ambient-access-token", "expires_in": 3600}
    monkeypatch.setitem(identity.apis, "oauth2.googleapis.com", lambda *_: token)
    return login


SET_QUOTA_PROJECT = "gcloud auth application-default set-quota-project project-42"
ENABLE = "gcloud services enable aiplatform.googleapis.com --project"


@pytest.mark.parametrize(
    ("quota_project", "others", "enabled", "expected", "unexpected"),
    [
        ("other", {"other": "SERVICE_DISABLED"}, True, SET_QUOTA_PROJECT, ENABLE),
        ("other", {"other": "USER_PROJECT_DENIED"}, True, SET_QUOTA_PROJECT, "Grant this identity"),
        ("other", {"other": "BILLING_DISABLED"}, True, SET_QUOTA_PROJECT, "Grant this identity"),
        ("project-42", {}, False, f"{ENABLE} project-42", SET_QUOTA_PROJECT),
        ("", {}, False, f"{ENABLE} project-42", SET_QUOTA_PROJECT),
        ("", {"project-42": "BILLING_DISABLED"}, True, "Link a billing account to project project-42", "Grant"),
        ("project-42", {"project-42": "USER_PROJECT_DENIED"}, True, "roles/serviceusage.serviceUsageConsumer", SET_QUOTA_PROJECT),
    ],
)  # fmt: skip
def test_a_refusal_for_the_sake_of_a_project_names_the_right_one(
    login, service, quota_project, others, enabled, expected, unexpected
):
    login(quota_project)
    service.others, service.enabled = others, enabled
    with pytest.raises(UserError) as error:
        client_of(service, patience=2).get("one")
    assert service.quota_projects == {quota_project or "project-42"}
    assert expected in str(error.value)
    assert unexpected not in str(error.value).partition(" (")[0]


@pytest.mark.parametrize(
    ("quota_project", "answer", "expected"),
    [
        ("other", (403, "X API has not been used in project other before or it is disabled."), "set-quota-project PROJECT"),
        ("", (403, "The iam.googleapis.com API requires a quota project, which is not set by default."), "set-quota-project PROJECT"),
        ("", (403, "X API has not been used in project 4711 before or it is disabled."), "gcloud services enable iam.googleapis.com --project 4711"),
        ("", (403, "This API method requires billing to be enabled. Please enable billing on project #4711 by"), "Link a billing account to project 4711"),
        ("other", (403, "The caller does not have permission"), "Grant the role."),
    ],
)  # fmt: skip
def test_googles_other_apis_are_explained_in_the_same_way(
    login, identity, monkeypatch, quota_project, answer, expected
):
    def refuse(*_):
        raise Refused(*answer)

    login(quota_project)
    monkeypatch.setitem(identity.apis, "iam.googleapis.com", refuse)
    with pytest.raises(UserError) as error:
        rest.call("GET", "https://iam.googleapis.com/v1/x", {403: "Grant the role."})
    assert expected in str(error.value)


@dsl.container_component
def busy(number: int):
    return dsl.ContainerSpec(image="x", command=["sleep", "2"], args=[])


def side_by_side(retries: int = 0) -> dict[str, Any]:
    """A job whose three tasks need nothing of each other."""

    @dsl.pipeline(name="demo")
    def pipeline():
        for number in range(3):
            busy(number=number).set_retry(num_retries=retries, backoff_duration="1s")

    config = RunConfig(image="x", root="gs://bucket/demo", service_account=ACCOUNT)
    content = json_format.MessageToDict(pipeline.pipeline_spec)
    return make_request(content, settings(config), name="demo", params={}, labels=LABELS, where="f")


@pytest.mark.slow
def test_a_job_that_needs_more_cpus_than_there_are_says_which_quota_it_is_and_what_helps(vertex, service):
    service.quota = 4  # this machine may run no more than two side by side
    vertex.submit(side_by_side(), "one")
    job = vertex.follow("one", lambda task: None, lambda error: None)
    assert job.state == "FAILED"
    task, *_ = job.failed_tasks
    for text in ("custom_model_training_cpus in europe-west1", "run_config.grouping", "retries", "iam-admin/quotas"):
        assert text in task.error
    service.quota = 12
    vertex.submit(side_by_side(), "two")
    assert vertex.follow("two", lambda task: None, lambda error: None).succeeded


@pytest.mark.slow
def test_a_task_that_is_tried_again_waits_until_there_are_cpus(vertex, service):
    service.quota = 4
    vertex.submit(side_by_side(retries=5), "one")
    job = vertex.follow("one", lambda task: None, lambda error: None)
    assert job.succeeded
    assert max(task.attempt for task in job.tasks.values()) > 1


@pytest.mark.parametrize(
    ("permission", "role"),
    [("compute.networkAttachments.update", "roles/compute.networkAdmin"), ("dns.networks.targetWithPeeringZone", "roles/dns.peer")],
)  # fmt: skip
def test_what_a_private_network_needs_is_granted_to_vertex_ais_agent(permission, role):
    message = suggest_fix(
        f"Permission '{permission}' denied on resource '//compute.googleapis.com/projects/host/x' (or it may not exist)."
    )
    assert message.startswith("Grant service-<project number>@gcp-sa-aiplatform.iam.gserviceaccount.com")
    assert f" {role} " in message
    assert "//compute" not in message


@pytest.mark.parametrize(
    ("message", "expected", "unexpected"),
    [
        (
            "Failed to create custom job. Error: The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_nvidia_l4_gpus,",
            "custom_model_training_nvidia_l4_gpus in europe-west1", "retries",
        ),
        (
            "code=RESOURCE_EXHAUSTED, message=The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus,aiplatform.googleapis.com/custom_model_training_t4_gpus, cause=null",
            "custom_model_training_cpus, custom_model_training_t4_gpus in europe-west1", "nothing",
        ),
        ("code=RESOURCE_EXHAUSTED, message=Quota exceeded for quota metric 'Requests'", "", "iam-admin"),
    ],
)  # fmt: skip
def test_the_quota_of_a_message_is_named(message, expected, unexpected):
    """https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/700: the quota of a GPU is 0 until one asks for more."""
    message = suggest_fix(message, region="europe-west1")
    assert expected in message
    assert unexpected not in message


WRITE = """
import json, sys
given = json.loads(sys.argv[1])
(artifact,) = given["outputs"]["artifacts"]["model"]["artifacts"]
artifact["metadata"] = {"text": "x" * int(given["inputs"]["parameterValues"]["size"])}
open(given["outputs"]["outputFile"], "w").write(json.dumps({"artifacts": {"model": {"artifacts": [artifact]}}}))
"""


@dsl.container_component
def write(size: int, model: dsl.Output[dsl.Model]):
    return dsl.ContainerSpec(image="x", command=[sys.executable, "-c", WRITE], args=["{{$}}"])


@pytest.mark.slow
@pytest.mark.parametrize(("size", "state"), [(200_000, "SUCCEEDED"), (300_000, "FAILED")])
def test_the_stand_in_refuses_metadata_that_is_too_large(vertex, service, size, state):
    @dsl.pipeline(name="demo")
    def pipeline():
        write(size=size)

    config = RunConfig(image="x", root="gs://bucket/demo", service_account=ACCOUNT)
    content = json_format.MessageToDict(pipeline.pipeline_spec)
    vertex.submit(make_request(content, settings(config), name="demo", params={}, labels=LABELS, where="f"), "one")
    job = vertex.follow("one", lambda task: None, lambda error: None)
    assert (job.state, ["metadata of artifact model" in task.error for task in job.tasks.values()]) == (
        state, [state == "FAILED"],
    )  # fmt: skip


POOL = {
    "state": "RUNNING",
    "resourcePools": [{"id": "pool", "replicaCount": "2", "machineSpec": {"machineType": "n1-standard-8"}}],
    "resourceRuntimeSpec": {"serviceAccountSpec": {"enableCustomServiceAccount": True}},
}
IN_POOL = {"persistent_resource": {"name": "pool", "wait": "10m", "otherwise": "on_demand"}}


def beta(service: Service) -> list[str]:
    return [
        f"{asked.partition(' ')[0]} {asked.rpartition('/')[2]}" for asked in service.requests if "/v1beta1/" in asked
    ]


def test_only_a_job_that_names_a_persistent_resource_goes_by_the_newer_api(vertex, service):
    service.persistent["pool"], service.execute = POOL, False
    vertex.submit(request(), "plain")
    assert beta(service) == []
    vertex.submit(request(**IN_POOL), "pooled")
    assert beta(service) == ["POST pipelineJobs"]
    runtime = service.jobs[f"{service.parent}/pipelineJobs/pooled"]["runtimeConfig"]["defaultRuntime"]
    assert runtime["persistentResourceRuntimeDetail"] == {
        "persistentResourceName": "projects/project-42/locations/europe-west1/persistentResources/pool",
        "taskResourceUnavailableWaitTimeMs": "600000",
        "taskResourceUnavailableTimeoutBehavior": "FALL_BACK_TO_ON_DEMAND",
    }
    assert vertex.get("pooled").state == "PENDING"
    assert [job.name for job in vertex.jobs({}, limit=5)] == ["pooled", "plain"]
    vertex.cancel("pooled")
    assert beta(service) == ["POST pipelineJobs"]


def test_the_same_job_in_a_persistent_resource_is_not_started_twice_and_another_one_is_told_from_it(vertex, service):
    service.persistent["pool"], service.execute = POOL, False
    vertex.submit(request(**IN_POOL), "pooled")
    assert vertex.submit(request(**IN_POOL), "pooled")[1]
    with pytest.raises(UserError, match=r"differs in runtimeConfig\.defaultRuntime"):
        vertex.submit(request(persistent_resource={"name": "pool"}), "pooled")


def test_a_schedule_in_a_persistent_resource_is_made_compared_and_moved_out_of_it(vertex, service):
    service.persistent["pool"], service.execute = POOL, False
    entry = ScheduleConfig(cron_expression="0 6 * * *")
    ours = labels_of("demo", "cloud")

    def compare(job: dict[str, Any]) -> Any:
        wanted = make_schedule(entry, job, "f")
        (change,) = changes([wanted], vertex.schedules([job]), ours, ["train"], prune=True)
        return change

    pooled, plain = request(**IN_POOL), request()
    vertex.create_schedule(compare(pooled).wanted)
    assert compare(pooled).action == "unchanged"
    change = compare(plain)
    assert change.action == "updated"
    vertex.update_schedule(change.there["name"], change.wanted, ["createPipelineJobRequest"])
    assert compare(plain).action == "unchanged"
    assert compare(pooled).action == "updated"


def test_what_is_wrong_with_a_persistent_resource_is_found(vertex, service):
    asked = Step("train", ("train",), (), (), (), Resources(machine_type="n1-standard-8"))
    with pytest.raises(
        UserError, match="There is no persistent resource pool in project project-42, region europe-west1"
    ):
        check_persistent_resource(vertex, "pool", [])
    service.persistent["pool"] = POOL
    assert check_persistent_resource(vertex, "pool", [asked]).startswith("pool: 2 × n1-standard-8, which are paid for")
    other = Step("big", ("big",), (), (), (), Resources(machine_type="n1-standard-16"))
    with pytest.raises(
        UserError, match="Step 'big' asks for n1-standard-16, and persistent resource pool has n1-standard-8"
    ):
        check_persistent_resource(vertex, "pool", [other])
    service.persistent["pool"] = {**POOL, "state": "PROVISIONING"}
    with pytest.raises(Doubt, match="is in state PROVISIONING"):
        check_persistent_resource(vertex, "pool", [asked])
    service.persistent["pool"] = {**POOL, "resourceRuntimeSpec": {}}
    with pytest.raises(UserError, match="--enable-custom-service-account"):
        check_persistent_resource(vertex, "pool", [asked])


def custom_job_spec(command: list[str]) -> dict[str, Any]:
    """The spec of a pipeline with one step in a custom job, whose worker runs this command."""
    config = RunConfig(image="x", root="gs://bucket/demo", resources={"train": {"machine_type": "g2-standard-4"}})
    plan = make_plan("p", Pipeline([Node(lambda: None, None, "model", name="train")]), config, {}.get)
    content = compile_plan(plan, Launch("demo"), config)
    for name, executor in content["deploymentSpec"]["executors"].items():
        container = executor["container"]
        if name != "exec-train":
            container["command"], container["args"] = ["true"], []
            continue
        index = container["args"].index("--payload") + 1
        job = json.loads(container["args"][index])
        worker = job["job_spec"]["worker_pool_specs"][0]["container_spec"]
        worker["command"], worker["args"] = command, []
        container["args"][index] = json.dumps(job)
    return content


def launched(vertex: Vertex, command: list[str]) -> PipelineJob:
    config = RunConfig(image="x", root="gs://bucket/demo", service_account=ACCOUNT)
    asked = make_request(custom_job_spec(command), settings(config), name="demo", params={}, labels=LABELS, where="f")
    return vertex.submit(asked, "one")[0]


@pytest.mark.slow
def test_status_and_logs_reach_into_the_custom_job_of_a_step(vertex, service):
    launched(vertex, ["printf", "from the worker"])
    job = vertex.with_custom_jobs(vertex.follow("one", lambda task: None, pytest.fail))
    assert job.succeeded, job
    (name,) = service.custom_jobs
    train = job.tasks["train"]
    assert (train.custom_job, name in train.containers) == (name, True)
    number = name.rpartition("/")[2]
    assert f"%22{number}%22" in train.log
    console = Console(record=True, width=160)
    console.print(job_as_table(job))
    shown = console.export_text(styles=True)
    url = f"https://console.cloud.google.com/vertex-ai/locations/europe-west1/training/{number}?project=project-42"
    assert "g2-standard-4, 1 × NVIDIA_L4" in shown
    assert url in shown
    (of_train,) = (task for task in job_as_dict(job)["tasks"] if task["name"] == "train")
    assert of_train["custom_job_url"] == url


@pytest.mark.slow
def test_the_custom_jobs_of_a_job_that_goes_on_are_cancelled_with_it(vertex, service):
    job = launched(vertex, ["sleep", "30"])
    while not service.custom_jobs:
        time.sleep(0.05)
    (running,) = vertex.custom_jobs(vertex.get(job.name))
    assert (running.task, running.has_ended) == ("train", False)
    vertex.cancel_custom_job(running.name)
    assert service.custom_jobs[running.name]["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.slow
def test_who_may_not_list_custom_jobs_sees_all_else(vertex, service, capsys):
    """As CI's launcher, whose role has nothing of custom jobs."""
    service.denied.add("aiplatform.customJobs.list")
    launched(vertex, ["true"])
    job = with_custom_jobs(vertex, vertex.follow("one", lambda task: None, pytest.fail))
    assert (job.succeeded, job.tasks["train"].custom_job) == (True, "")
    assert "The custom jobs of the steps are not shown." in capsys.readouterr().err


def test_a_job_without_custom_jobs_asks_for_none(vertex, service):
    service.execute = False
    vertex.submit(request(), "one")
    vertex.with_custom_jobs(vertex.get("one"))
    assert not any("customJobs" in asked for asked in service.requests)


@pytest.fixture
def cloud(identity: Google) -> Cloud:
    cloud = Cloud(accounts={ACCOUNT})
    cloud.serve(identity, "registry")
    return cloud


STEPS = [
    Step("a", ("a",), (), (), (), Resources(machine_type="g2-standard-24")),
    Step("b", ("b",), (), (), (), Resources(machine_type="a2-highgpu-1g", spot=True)),
]
HERE = Target("project-42", "europe-west1", "https://europe-west1-aiplatform.googleapis.com")


def test_quotas_of_the_region_are_compared_with_what_steps_may_take(cloud):
    cloud.quotas |= {
        "custom_model_training_cpus": {"": 20, "europe-west1": 42},
        "custom_model_training_nvidia_l4_gpus": {"": 0, "europe-west1": -1},
        "custom_model_training_preemptible_nvidia_a100_gpus": {"": 1},
    }
    assert check_quotas(HERE, STEPS) == (
        "custom_model_training_cpus 24 of 42, custom_model_training_nvidia_l4_gpus 2 of any number, "
        "custom_model_training_preemptible_nvidia_a100_gpus 1 of 1"
    )
    cloud.quotas["custom_model_training_cpus"] = {"": 20}
    with pytest.raises(Doubt, match="custom_model_training_cpus in europe-west1: 24 may be needed at once, and 20 are"):
        check_quotas(HERE, STEPS)
    cloud.quotas.clear()
    with pytest.raises(Doubt, match="knows no quota of these names: custom_model_training_cpus"):
        check_quotas(HERE, STEPS)
    cloud.denied.add((AMBIENT, "serviceusage.quotas.get"))
    with pytest.raises(Doubt, match=r"roles/serviceusage\.serviceUsageConsumer"):
        check_quotas(HERE, STEPS)


def test_the_zones_of_the_region_that_have_a_machine_type_are_named(cloud):
    cloud.machine_types = {"g2-standard-24": ["europe-west1-b", "europe-west1-c"], "a2-highgpu-1g": ["europe-west4-a"]}
    assert check_machine_types(HERE, STEPS[:1]) == "g2-standard-24 in europe-west1-b, europe-west1-c"
    with pytest.raises(Doubt, match="Not in europe-west1: a2-highgpu-1g: Compute Engine has it in europe-west4"):
        check_machine_types(HERE, STEPS)
    cloud.denied.add((AMBIENT, "compute.machineTypes.list"))
    with pytest.raises(Doubt, match=r"without roles/compute\.viewer"):
        check_machine_types(HERE, STEPS)


def test_an_account_that_may_not_act_as_itself_can_start_no_custom_job(cloud, identity):
    assert check_acts_as_itself(ACCOUNT) == f"{ACCOUNT} may start them"
    cloud.denied.add((ACCOUNT, "iam.serviceAccounts.actAs"))
    with pytest.raises(UserError, match=f"--member=serviceAccount:{ACCOUNT} --role=roles/iam.serviceAccountUser"):
        check_acts_as_itself(ACCOUNT)
    identity.impersonates = False
    with pytest.raises(Doubt, match="Could not check whether"):
        check_acts_as_itself(ACCOUNT)
    identity.impersonates = True
