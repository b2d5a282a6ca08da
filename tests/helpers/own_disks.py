"""Run a compiled spec as Vertex AI would as far as disks go: each task has one of its own, and artifacts are remote.

Tasks run one after the other. The disk is always at the same path, as it is in a container, and before each task it is
made anew from what the image has: the project's code and configuration, and the files that are said to be in it.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from docker.utils.build import exclude_paths
from running import environment

from vertexai_mlflow.contract.job import State, TaskRun
from vertexai_mlflow.contract.spec import Source, Task, pipeline_parameters, tasks
from vertexai_mlflow.local.kfp_protocol import command_line, make_executor_input, read_executor_output
from vertexai_mlflow.local.preloaded import Preloaded
from vertexai_mlflow.local.processes import signal_group, start


class StepFailed(AssertionError):
    """A task has failed; the message has what it printed. ``results`` are those of the tasks that have succeeded."""

    def __init__(self, task: str, code: int, log: str, results: Mapping[str, Any]) -> None:
        super().__init__(f"{task} failed with exit code {code}:\n{log}")
        self.task, self.results = task, results


def run_on_own_disks(
    spec: Mapping[str, Any],
    project: Path,
    root: str,
    preloaded: Preloaded | None = None,
    in_image: Iterable[str | Path] = (),
    elsewhere: Iterable[Path] = (),
    parameters: Mapping[str, Any] | None = None,
    job: str = "job-1",
    constants: Mapping[str, str] | None = None,
    on_change: Callable[[TaskRun], None] = lambda run: None,
    **variables: str,
) -> dict[str, dict[str, Any]]:
    """Execute a compiled spec.

    The folder ``own-disks/<job>`` beside the project is where all of it happens: ``disk/<project>`` is the disk,
    ``logs`` has what the tasks printed, and ``mlflow.db`` and ``mlflow`` are the MLflow store that they share.

    Args:
        spec: the compiled spec.
        project: the project; nothing is written there.
        root: URI below which artifacts are kept: ``<root>/<job>/<task>/<key>``.
        preloaded: an interpreter that starts the tasks. It must have been started with the same ``variables``, because
            gcsfs reads some of them when it is imported.
        in_image: the project's files and folders that are in the image besides those that .dockerignore lets in.
        elsewhere: folders outside of the project that are on the disk too, and so are empty when a task starts.
        parameters: values of the pipeline's parameters, where not the default.
        job: the job's name.
        constants: what the platform says of the job, where another value is wanted.
        on_change: called with each change of a task's state.
        variables: environment variables of the tasks, such as ``STORAGE_EMULATOR_HOST``.

    Returns:
        Task → its ``parameters`` and ``artifacts``, as ``read_executor_output`` has them.

    Raises:
        StepFailed: when a task has failed. No other task has run after it but the exit task.
    """
    folder = project.parent / "own-disks" / job
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    ignored = (project / ".dockerignore").read_text().splitlines()
    patterns = [line for line in map(str.strip, ignored) if line and not line.startswith("#")]
    let_in = [name for name in sorted(exclude_paths(str(project), patterns)) if (project / name).is_file()]
    image = [*let_in, *in_image]
    run = _Run(project, folder, f"{root}/{job}", preloaded, image, list(elsewhere), variables)
    run.constants |= constants or {}
    run.values = pipeline_parameters(spec) | dict(parameters or {})
    waiting = {task.name: task for task in tasks(spec)}
    failure: StepFailed | None = None
    while ready := [task for task in waiting.values() if not waiting.keys() & task.upstream]:
        task = waiting.pop(ready[0].name)
        about = TaskRun(task.name, str(folder / "logs" / f"{task.name}.txt"), State.NOT_TRIGGERED)
        if not failure or task.always:
            on_change(replace(about, state=State.RUNNING, attempt=1))
            try:
                run.results[task.name] = made = run.execute(task, failure)
                about = replace(about, state=State.SUCCEEDED, attempt=1, outputs=made)
            except StepFailed as failed:
                failure = failure or failed
                about = replace(about, state=State.FAILED, attempt=1, error="exit code 1")
        on_change(about)
    if failure:
        raise failure
    assert not waiting, f"these tasks wait for each other: {sorted(waiting)}"
    return run.results


@dataclass
class _Run:
    """The state of one job."""

    project: Path
    folder: Path
    root: str
    preloaded: Preloaded | None
    image: list[str | Path]
    elsewhere: list[Path]
    variables: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = self.folder / "disk" / self.project.name
        self.variables = {
            **environment(),
            "PYTHONPATH": str(self.disk / "src"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            # As MLflow's own server tells it: where an experiment's artifacts are by default.
            "_MLFLOW_SERVER_ARTIFACT_ROOT": (self.folder / "mlflow").as_uri(),
            **self.variables,
        }
        self.resource_name = f"projects/42/locations/europe-west1/pipelineJobs/{self.folder.name}"
        self.constants = {
            "pipeline_job_name": self.folder.name, "pipeline_job_uuid": "4711", "pipeline_root": self.root,
            "pipeline_job_resource_name": self.resource_name, "pipeline_task_uuid": "1",
            "pipeline_job_create_time_utc": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip

    def execute(self, task: Task, failure: StepFailed | None) -> dict[str, Any]:
        """Run a task on a new disk."""
        if importer := getattr(task, "importer", None):  # `tasks` refuses importers so far
            uri = importer["artifactUri"]["constant"]
            artifact = {
                "name": "artifact",
                "type": importer["typeSchema"],
                "uri": uri,
                "metadata": importer.get("metadata", {}),
            }
            return {"parameters": {}, "artifacts": {"artifact": artifact}}
        values = {name: self._value(source, failure) for name, source in task.parameters.items()}
        values = {name: value for name, value in values.items() if value is not None}
        taken = {name: self.results[item.task]["artifacts"][item.output] for name, item in task.artifacts.items()}
        given = make_executor_input(task, values, taken, f"{self.root}/{task.name}")
        outputs = self.folder / "outputs" / task.name  # the platform reads it, wherever the artifacts are
        outputs.mkdir(parents=True)
        output_file = outputs / "executor_output.json"
        bucket = self.root.startswith("gs://")
        # Vertex AI names the place of a bucket by its mount, which the image's user may not be able to write to.
        mounted = f"/gcs/{self.root.removeprefix('gs://')}/{task.name}/executor_output.json"
        given["outputs"]["outputFile"] = mounted if bucket else str(output_file)
        for name, parameter in given["outputs"]["parameters"].items():
            parameter["outputFile"] = str(outputs / name)
        argv = command_line(task, given, {**self.constants, "pipeline_task_name": task.display})
        own = {item["name"]: item.get("value", "") for item in task.container.get("env", [])}
        self._new_disk()
        log = self.folder / "logs" / f"{task.name}.txt"
        with log.open("wb") as file:
            preloaded = None if own else self.preloaded
            process = start(argv, self.disk, {**self.variables, **own}, file.fileno(), preloaded)
        try:
            code = process.wait(timeout=300)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        signal_group(process, signal.SIGKILL)
        if code:
            raise StepFailed(task.name, code, log.read_text(errors="replace"), self.results)
        if bucket:
            host, (name, path) = self.variables["STORAGE_EMULATOR_HOST"], mounted.removeprefix("/gcs/").split("/", 1)
            address = f"{host}/storage/v1/b/{name}/o/{quote(path, safe='')}"
            answer = requests.get(address, {"alt": "media"}, timeout=10)
            assert answer.ok, f"{task.name} has written no {mounted}"
            requests.delete(address, timeout=10)  # the tests look at the artifacts that are left
            output_file.write_text(answer.text)
            given["outputs"]["outputFile"] = str(output_file)
        return read_executor_output(given)

    def _new_disk(self) -> None:
        for folder in (self.disk, *self.elsewhere):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for path in self.image:
            source, target = self.project / path, self.disk / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        for empty in ("conf/local", "data"):  # as the Dockerfile makes them
            (self.disk / empty).mkdir(exist_ok=True)

    def _value(self, source: Source, failure: StepFailed | None) -> Any:
        if source.pipeline_parameter is not None:
            return self.values.get(source.pipeline_parameter)
        if source.task is not None:
            return self.results[source.task]["parameters"].get(source.output)
        if source.status_of is None:
            return source.constant
        error = {"code": 9, "message": f"The failed tasks are: [{failure.task}]."} if failure else {}
        return {
            "state": "FAILED" if failure else "SUCCEEDED", "error": error, "pipelineTaskName": source.status_of[0],
            "pipelineJobResourceName": self.resource_name,
        }  # fmt: skip
