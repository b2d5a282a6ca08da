"""``run-local`` on specs that the KFP SDK compiled. Their containers are plain commands of this machine."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl

from vertexai_mlflow.contract.job import PipelineJob
from vertexai_mlflow.contract.spec import read_spec, tasks
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.local import scheduler as local
from vertexai_mlflow.local.jobs import read_job


def sh(name: str, script: str, **arguments: Any):
    """Make a task that runs a shell script. ``arguments`` are those of ``dsl.container_component``."""

    def task() -> None:
        return dsl.ContainerSpec(image="x", command=["sh", "-c", script, name], args=["{{$}}"])

    task.__name__ = name
    task.__annotations__.pop("return")
    return dsl.container_component(task)(**arguments)


@dsl.container_component
def report(status: dsl.PipelineTaskFinalStatus):
    return dsl.ContainerSpec(
        image="x", command=["sh", "-c", 'printf %s "$0"'], args=["{{$.inputs.parameters['status']}}"]
    )


@dsl.container_component
def write(text: str, data: dsl.Output[dsl.Dataset], length: dsl.OutputPath(int)):
    script = 'printf %s "$0" > "$1"; printf %s "${#0}" > "$2"'
    return dsl.ContainerSpec(image="x", command=["sh", "-c", script], args=[text, data.path, length])


@dsl.container_component
def show(data: dsl.Input[dsl.Dataset], length: int):
    return dsl.ContainerSpec(image="x", command=["sh", "-c", 'cat "$0"; printf " %s" "$1"'], args=[data.path, length])


@dsl.container_component
def names():
    keys = [
        "pipeline_job_name",
        "pipeline_job_uuid",
        "pipeline_job_resource_name",
        "pipeline_task_name",
        "pipeline_root",
    ]
    return dsl.ContainerSpec(image="x", command=["printf", "%s\n"], args=["{{$." + key + "}}" for key in keys])


def spec_of(build: Callable[..., Any]) -> dict[str, Any]:
    @functools.wraps(build)
    def pipeline(*args: Any, **kwargs: Any) -> None:  # KFP takes what a pipeline returns for its outputs
        build(*args, **kwargs)

    return json_format.MessageToDict(dsl.pipeline(name="test")(pipeline).pipeline_spec)


def execute(spec: dict[str, Any], folder: Path, **options: Any) -> PipelineJob:
    return local.run_spec(spec, local.RunOptions(folder, folder, **{"max_workers": 2, **options}))


def printed(job: PipelineJob, task: str) -> str:
    return Path(job.tasks[task].log).read_text()


def states(job: PipelineJob) -> dict[str, str]:
    return {name: run.state for name, run in job.tasks.items()}


def test_values_and_files_travel_as_they_were_written(tmp_path):
    text = 'it\'s "quoted" $(touch hacked) `touch hacked` {{$.pipeline_job_name}}\nü'

    def pipeline(text: str = text):
        written = write(text=text)
        show(data=written.outputs["data"], length=written.outputs["length"])

    job = execute(spec_of(pipeline), tmp_path)
    assert job.state == "SUCCEEDED"
    assert printed(job, "show") == f"{text} {len(text.encode())}"
    assert not (tmp_path / "hacked").exists()


def test_a_task_knows_its_job_and_itself(tmp_path):
    job = execute(spec_of(lambda: names()), tmp_path)
    name, uuid, resource_name, task, root = printed(job, "names").splitlines()
    assert (name, task, root) == (job.name, "names", str(tmp_path / job.name))
    assert uuid.isdigit()
    assert resource_name == (tmp_path / job.name).as_uri() == job.resource_name


def test_a_failed_task_stops_what_depends_on_it_and_nothing_else(tmp_path):
    def pipeline():
        with dsl.ExitHandler(report()):
            bad = sh("bad", "echo reason >&2; exit 3")
            sh("after-bad", "true").after(bad)
            sh("after-good", "true").after(sh("good", "sleep 0.2"))

    job = execute(spec_of(pipeline), tmp_path)
    assert job.state == "FAILED"
    assert states(job) == {
        "bad": "FAILED", "after-bad": "NOT_TRIGGERED", "good": "SUCCEEDED", "after-good": "SUCCEEDED", "report": "SUCCEEDED",
    }  # fmt: skip
    assert job.tasks["bad"].error == "exit code 3"
    assert printed(job, "bad") == "reason\n"
    status = json.loads(printed(job, "report"))
    assert status["state"] == "FAILED"
    assert "The failed tasks are: [bad]." in status["error"]["message"]


def test_with_the_policy_to_fail_fast_nothing_but_the_exit_task_starts_after_a_failure(tmp_path):
    def pipeline():
        with dsl.ExitHandler(report()):
            sh("bad", "exit 3")
            sh("after-good", "true").after(sh("good", "sleep 0.5"))

    job = execute(spec_of(pipeline), tmp_path, fail_fast=True)
    assert states(job) == {"bad": "FAILED", "good": "SUCCEEDED", "after-good": "NOT_TRIGGERED", "report": "SUCCEEDED"}


def test_a_task_that_ignores_upstream_failures_runs_after_a_failed_task(tmp_path):
    def pipeline():
        sh("whatever", "true").after(sh("bad", "exit 1")).ignore_upstream_failure()

    assert states(execute(spec_of(pipeline), tmp_path)) == {"bad": "FAILED", "whatever": "SUCCEEDED"}


def test_a_retry_succeeds_where_the_first_attempt_failed(tmp_path):
    def pipeline():
        with dsl.ExitHandler(report()):
            task = sh("flaky", f"echo attempt; test -e {tmp_path}/seen || {{ touch {tmp_path}/seen; exit 1; }}")
            task.set_retry(2, backoff_duration="0s")

    job = execute(spec_of(pipeline), tmp_path)
    assert job.state == "SUCCEEDED"
    assert job.tasks["flaky"].attempt == 2
    assert printed(job, "flaky") == "attempt\n" * 2
    assert json.loads(printed(job, "report"))["state"] == "SUCCEEDED"


def test_a_job_on_disk_says_when_each_of_its_tasks_waited_and_ran(tmp_path):
    def pipeline():
        first = sh("first", "sleep 0.2")
        sh("second", "sleep 0.2").after(first)
        sh("third", "sleep 0.2").after(first)
        sh("never", "true").after(sh("bad", "false").after(first).set_retry(1, backoff_duration="0s"))

    job = execute(spec_of(pipeline), tmp_path, max_workers=1)
    on_disk = read_job(tmp_path / job.name)
    assert on_disk == job
    first, second, third, bad = (on_disk.tasks[name] for name in ("first", "second", "third", "bad"))
    assert job.created <= first.created <= first.started < first.ended <= second.created <= job.ended
    # One worker takes one after the other.
    assert max(task.started - task.created for task in (second, third, bad)) >= timedelta(seconds=0.2)
    assert (len(bad.attempts), bad.attempts[0]) == (2, bad.started)
    never = on_disk.tasks["never"]
    assert (never.created, never.started, never.ended) == (None, None, None)


@pytest.mark.parametrize(("runs", "state"), [(True, "RUNNING"), (False, "FAILED")])
def test_a_job_on_disk_runs_as_long_as_its_process(runs, state, tmp_path):
    job = execute(spec_of(lambda: sh("one", "true")), tmp_path)
    file = tmp_path / job.name / "job.json"
    process = os.getpid() if runs else 2**22 + 1
    file.write_text(json.dumps({**json.loads(file.read_text()), "state": "RUNNING", "process": process}))
    assert read_job(tmp_path / job.name).state == state


def test_a_task_fails_when_its_retries_are_used_up(tmp_path):
    job = execute(spec_of(lambda: sh("bad", "exit 1").set_retry(2, backoff_duration="0s")), tmp_path)
    assert (job.tasks["bad"].state, job.tasks["bad"].attempt) == ("FAILED", 3)


def test_the_error_of_a_killed_task_names_the_signal(tmp_path):
    job = execute(spec_of(lambda: sh("hungry", "kill -9 $$")), tmp_path)
    assert job.tasks["hungry"].error == "killed by SIGKILL, perhaps for lack of memory"


def test_a_command_that_does_not_exist_is_named(tmp_path):
    @dsl.container_component
    def missing():
        return dsl.ContainerSpec(image="x", command=["no-such-command"])

    job = execute(spec_of(lambda: missing()), tmp_path)
    assert job.tasks["missing"].error == "no-such-command could not be started: No such file or directory"


@pytest.mark.slow
def test_two_branches_run_side_by_side_and_one_worker_runs_one_at_a_time(tmp_path):
    """Each branch waits for the other's file, so neither can succeed alone."""

    def pipeline():
        for mine, other in (("a", "b"), ("b", "a")):
            sh(
                mine,
                f"touch {tmp_path}/{mine}; for i in $(seq 25); do test -e {tmp_path}/{other} && exit; sleep 0.1; done; exit 1",
            ).set_caching_options(False)

    spec = spec_of(pipeline)
    assert execute(spec, tmp_path).state == "SUCCEEDED"
    for name in "ab":
        (tmp_path / name).unlink()
    alone = execute(spec, tmp_path, max_workers=1)
    assert sorted(states(alone).values()) == ["FAILED", "SUCCEEDED"]


def test_ctrl_c_ends_the_running_task_and_the_exit_task_still_runs(tmp_path):
    def pipeline():
        with dsl.ExitHandler(report()):
            slow = sh("slow", f"touch {tmp_path}/started; sleep 60")
            sh("later", "true").after(slow)

    def interrupt():
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    job = execute(spec_of(pipeline), tmp_path)
    thread.join()
    assert job.state == "CANCELLED"
    assert states(job) == {"slow": "CANCELLED", "later": "CANCELLED", "report": "SUCCEEDED"}
    assert json.loads(printed(job, "report"))["state"] == "CANCELLED"
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
    assert left == []


def test_a_pipeline_parameter_without_a_value_is_named(tmp_path):
    def pipeline(text: str):
        write(text=text)

    with pytest.raises(UserError, match=r"The pipeline's parameter 'text' has no value"):
        execute(spec_of(pipeline), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_only_vertex_can_run_is_refused_before_anything_runs(tmp_path):
    def pipeline():
        with dsl.ParallelFor([1, 2]):
            sh("each", "true")

    with pytest.raises(UserError, match=r"parameterIterator\. Only Vertex AI can run loops"):
        execute(spec_of(pipeline), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tasks_with_the_same_name_in_two_graphs_get_different_names():
    def pipeline():
        for number in range(2):
            with dsl.ExitHandler(sh(f"exit-{number}", "true")):
                sh("same", "true")

    spec = spec_of(pipeline)
    inner = [component["dag"]["tasks"] for component in spec["components"].values() if "dag" in component]
    first, second = ({"same": next(iter(tasks.values()))} for tasks in inner)
    for component, graph in zip((c for c in spec["components"].values() if "dag" in c), (first, second), strict=True):
        component["dag"]["tasks"] = graph
    task_names = {task.name for task in tasks(spec)}
    assert task_names == {"exit-0", "exit-1", "exit-handler-1.same", "exit-handler-2.same"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pipelineInfo": {}}', "{", "a: [", "\x00"])
def test_a_file_that_is_not_a_spec_is_refused_and_the_message_says_how_to_make_one(content, tmp_path):
    for name in ("x.json", "x.yaml"):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=r"Make one with: kedro vertexai compile"):
            read_spec(tmp_path / name)


def test_a_local_step_runs_with_the_same_python_as_kedro(tmp_path):
    @dsl.container_component
    def which():
        return dsl.ContainerSpec(image="x", command=["python", "-c", "import sys; print(sys.executable)"])

    job = execute(spec_of(lambda: which()), tmp_path)
    assert Path(printed(job, "which").strip()).parent == Path(sys.executable).parent


def make_and_show(text: str):
    """A task that makes an artifact and one that shows it. Both are cached, which is KFP's default."""

    def pipeline():
        made = write(text=text)
        show(data=made.outputs["data"], length=made.outputs["length"])

    return spec_of(pipeline)


def test_a_cached_task_is_taken_from_an_earlier_run(tmp_path):
    first = execute(make_and_show("hello"), tmp_path)
    again = execute(make_and_show("hello"), tmp_path)
    assert states(first) == {"write": "SUCCEEDED", "show": "SUCCEEDED"}
    assert states(again) == {"write": "SKIPPED", "show": "SKIPPED"}
    assert again.state == "SUCCEEDED"
    assert again.tasks["write"].outputs == first.tasks["write"].outputs
    assert states(execute(make_and_show("other"), tmp_path)) == states(first)


def test_a_run_that_failed_resumes_where_it_failed_when_it_is_started_again(tmp_path):
    def pipeline():
        sh("good", "true")
        sh("bad", f"test -e {tmp_path}/mended").after(sh("before", "true"))

    assert states(execute(spec_of(pipeline), tmp_path)) == {"before": "SUCCEEDED", "good": "SUCCEEDED", "bad": "FAILED"}
    (tmp_path / "mended").touch()
    assert states(execute(spec_of(pipeline), tmp_path)) == {"before": "SKIPPED", "good": "SKIPPED", "bad": "SUCCEEDED"}


def test_a_cached_result_whose_artifact_is_gone_is_made_again(tmp_path):
    first = execute(make_and_show("hello"), tmp_path)
    Path(first.tasks["write"].outputs["artifacts"]["data"]["uri"]).unlink()
    assert states(execute(make_and_show("hello"), tmp_path)) == {"write": "SUCCEEDED", "show": "SUCCEEDED"}


@pytest.mark.parametrize(
    "file",
    ["src/nodes.py", "conf/base/parameters.yml", "conf/local/parameters.yml", "pyproject.toml", "requirements.lock"],
)
def test_a_change_of_code_or_configuration_makes_cached_tasks_run_again(tmp_path, file):
    for text in ("one", "two"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        assert states(execute(make_and_show("hello"), tmp_path)) == {"write": "SUCCEEDED", "show": "SUCCEEDED"}
    assert states(execute(make_and_show("hello"), tmp_path)) == {"write": "SKIPPED", "show": "SKIPPED"}


@pytest.mark.parametrize("kind", ["a linked package", "a folder on the path", "an editable install", "a file of data"])
def test_a_change_of_code_beside_the_project_makes_cached_tasks_run_again(tmp_path, monkeypatch, kind):
    """In a monorepo, a project's nodes import what is in no folder of the project."""
    project, beside = tmp_path / "repo/project", tmp_path / "repo/shared"
    (project / "src").mkdir(parents=True)
    (beside / "helping").mkdir(parents=True)
    file = beside / "helping" / ("query.sql" if kind == "a file of data" else "__init__.py")
    if kind == "a linked package":
        (project / "src/helping").symlink_to(beside / "helping")
    elif kind == "an editable install":
        metadata = tmp_path / "site/helping-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: helping\nVersion: 1\n")
        (metadata / "direct_url.json").write_text(json.dumps({"url": beside.as_uri(), "dir_info": {"editable": True}}))
        monkeypatch.syspath_prepend(tmp_path / "site")
    else:
        monkeypatch.syspath_prepend(beside)
    (beside / "circle").symlink_to(beside)
    for text in ("one", "another"):
        file.write_text(text)
        assert states(execute(make_and_show("hello"), project)) == {"write": "SUCCEEDED", "show": "SUCCEEDED"}
    assert states(execute(make_and_show("hello"), project)) == {"write": "SKIPPED", "show": "SKIPPED"}


def test_a_skipped_task_names_the_job_that_made_its_result(tmp_path):
    first = execute(make_and_show("hello"), tmp_path)
    assert {task.origin for task in first.tasks.values()} == {""}
    for _ in range(2):
        again = execute(make_and_show("hello"), tmp_path)
        for task in again.tasks.values():
            assert re.fullmatch(rf"{first.name} of \d{{4}}-\d\d-\d\d \d\d:\d\d", task.origin)


def test_a_change_of_the_files_that_a_task_reads_makes_it_run_again(tmp_path):
    @dsl.container_component
    def reads():
        return dsl.ContainerSpec(image="x", command=["true"], args=['--reads=["data/raw"]'])

    def pipeline():
        reads()
        sh("other", "true")

    states_of = lambda: states(execute(spec_of(pipeline), tmp_path))  # noqa: E731
    (tmp_path / "data/raw").mkdir(parents=True)
    for name in ("one.csv", "two.csv"):
        (tmp_path / "data/raw" / name).write_text(name)
        before = states_of()
    assert before == {"reads": "SUCCEEDED", "other": "SKIPPED"}
    assert states_of() == {"reads": "SKIPPED", "other": "SKIPPED"}


def test_a_change_of_a_variable_that_the_configuration_takes_makes_cached_tasks_run_again(tmp_path, monkeypatch):
    for value in ("one", "two"):
        monkeypatch.setenv("TAKEN", value)
        job = execute(make_and_show("hello"), tmp_path, config_variables=["TAKEN"])
        assert states(job) == {"write": "SUCCEEDED", "show": "SUCCEEDED"}


@pytest.mark.parametrize(
    ("written", "message"),
    [("{", "JSONDecodeError"), ('{"n": NaN}', "ValueError: NaN is not JSON"), ("[-Infinity]", "-Infinity is not JSON")],
)
def test_an_executor_output_that_vertex_ai_could_not_read_fails_its_task(tmp_path, written, message):
    @dsl.container_component
    def broken():
        script = f"printf '{written}' > \"$0\""
        return dsl.ContainerSpec(image="x", command=["sh", "-c", script], args=["{{$.outputs.output_file}}"])

    job = execute(spec_of(lambda: broken()), tmp_path)
    assert job.state == "FAILED"
    assert "its executor output cannot be read (" in job.tasks["broken"].error
    assert message in job.tasks["broken"].error


HOSTILE_NAMES = ["../../outside", "/tmp/outside", "..", "a/b", "", "a\nb", "~", ".hidden", "-rf", "a\0b", "$(touch x)"]


def renamed(spec: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return json.loads(json.dumps(spec).replace(json.dumps(old), json.dumps(new)))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("what", ["test", "write", "data", "length"])
def test_a_spec_whose_names_lead_out_of_the_jobs_folder_is_refused(what, name, tmp_path):
    """The name of the pipeline, of a task, of an artifact, of an output parameter."""

    def pipeline():
        write(text="x")

    folder = tmp_path / "deep/er/runs"
    with pytest.raises(UserError, match=r"These names in the spec cannot be file names: "):
        local.run_spec(renamed(spec_of(pipeline), what, name), local.RunOptions(folder, tmp_path))
    assert list(tmp_path.rglob("*")) == []


def test_all_names_that_lead_out_of_the_folder_are_named_at_once(tmp_path):
    def pipeline():
        write(text="x")

    spec = renamed(renamed(spec_of(pipeline), "data", "../one"), "length", "../two")
    with pytest.raises(UserError, match=r"'\.\./two', '\.\./one'"):
        execute(spec, tmp_path)


def test_a_value_with_a_nul_fails_its_task_and_says_so(tmp_path):
    def pipeline(text: str = "a\0b"):
        write(text=text)

    job = execute(spec_of(pipeline), tmp_path)
    assert job.tasks["write"].state == "FAILED"
    assert "could not be started: embedded null byte" in job.tasks["write"].error
