"""Pipeline spec → its tasks run on this machine, each in a process of its own, in the order Vertex AI would use."""

import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..compile.spec import Source, Spec, Task, pipeline_parameters, tasks
from ..contract.job import ENDED, PipelineJob, State, TaskRun, new_job_name
from ..errors import UserError
from ..image import inspect
from .cache import Cache
from .containers import Containers
from .jobs import final_status, state_of, write_job, write_spec_of_job
from .kfp_protocol import command_line, executor_input, executor_output, imported, refuse_paths
from .preloaded import Preloaded
from .processes import Process, environment, interrupts, meaning, signal_group, start

# Between asking a process to end and making it end, in seconds: Kubernetes' default grace period is 30.
_GRACE = 10.0


def run_spec(
    spec: Spec,
    *,
    folder: Path,
    cwd: Path,
    max_workers: int | None = None,
    name: str | None = None,
    resource_name: str | None = None,
    containers: Containers | None = None,
    preloaded: Preloaded | None = None,
    fail_fast: bool = False,
    variables: Iterable[str] = (),
    on_change: Callable[[TaskRun], None] = lambda run: None,
) -> PipelineJob:
    """Execute a compiled pipeline.

    Args:
        spec: the compiled spec.
        folder: a folder for jobs and for the results of cached tasks; the job makes one of its own in it.
        cwd: working directory of the tasks.
        max_workers: how many tasks may run side by side; None is one per CPU.
        name: name of the job, unique in the folder; None makes one.
        resource_name: what tasks are told about where the job is; None is the URL of its folder.
        containers: runs the tasks in their images; None runs them as processes of this machine.
        preloaded: starts the tasks that it can; the others, or all if it is None, start cold.
        fail_fast: whether no task but the exit task is started after one has failed.
        variables: names of the environment variables that the project's configuration takes.
        on_change: called with each change of a task's state, from several threads.

    Returns:
        The job, ended; its ``resource_name`` is the URL of the folder with its logs and artifacts.

    Raises:
        UserError: when the spec has something that cannot be executed here; nothing has run then.
    """
    refuse_paths(spec["pipelineInfo"]["name"], tasks(spec))
    name = name or new_job_name(spec["pipelineInfo"]["name"])
    own = folder.resolve() / name
    job = _Scheduler(spec, own, cwd, resource_name, containers, preloaded, fail_fast, variables, on_change)
    return job.run(max_workers or os.cpu_count() or 1)


@dataclass
class _Scheduler:
    """The state of one run; ``run`` is the scheduler, ``_execute`` is what a worker thread does."""

    spec: Spec
    folder: Path
    cwd: Path
    resource_name: str | None
    containers: Containers | None
    preloaded: Preloaded | None
    fail_fast: bool
    variables: Iterable[str]
    on_change: Callable[[TaskRun], None]

    def __post_init__(self) -> None:
        self._parameters = pipeline_parameters(self.spec)
        self._tasks = {task.name: task for task in tasks(self.spec)}
        self._runs = {name: TaskRun(name, str(self.folder / name / "log.txt")) for name in self._tasks}
        self._processes: dict[str, Process] = {}
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._cache = None
        if cached := [task for task in self._tasks.values() if task.cached]:
            names = {task.container["image"] for task in cached} if self.containers else ()
            images = {name: inspect("image", name)["Id"] for name in names}
            self._cache = Cache(self.folder.parent / ".cache", self.cwd, self.variables, images)
        self._constants = {
            "pipeline_job_name": self.folder.name,
            "pipeline_job_uuid": str(uuid.uuid4().int >> 65),
            "pipeline_job_resource_name": self.resource_name or self.folder.as_uri(),
            "pipeline_root": str(self.folder),
            "pipeline_job_create_time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def run(self, max_workers: int) -> PipelineJob:
        running: set[Future[None]] = set()
        write_spec_of_job(self.spec, self.folder)
        if self.preloaded and self.preloaded.why_not:
            self.preloaded = None
        with interrupts(self._cancel), ThreadPoolExecutor(max_workers, thread_name_prefix="task") as pool:
            while True:
                running |= {pool.submit(self._execute, task) for task in self._triggered()}
                if not running:
                    break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
        job = self._job(state_of(self._runs.values()))
        write_job(job, self.folder)
        return job

    def _triggered(self) -> Iterable[Task]:
        """Take the tasks that can start now from the pending ones; end those that never will."""
        progress = True
        while progress:
            progress = False
            stopping = self._cancelled.is_set() or (self.fail_fast and state_of(self._runs.values()) == State.FAILED)
            for task in self._tasks.values():
                if self._runs[task.name].state != State.PENDING:
                    continue
                states = {self._runs[name].state for name in task.upstream}
                if not states <= ENDED:
                    continue
                if task.always or (states <= {State.SUCCEEDED, State.SKIPPED} and not stopping):
                    self._change(task, state=State.RUNNING)
                    yield task
                else:
                    self._change(task, state=State.CANCELLED if self._cancelled.is_set() else State.NOT_TRIGGERED)
                    progress = True

    def _execute(self, task: Task) -> None:
        parameters = {
            name: found for name, source in task.parameters.items() if (found := self._value(source)) is not None
        }
        if task.importer:
            self._change(task, state=State.SUCCEEDED, outputs=imported(task, parameters))
            return
        artifacts = {name: self._output(source)["artifacts"][source.output] for name, source in task.artifacts.items()}
        key = self._cache.key(task, parameters, artifacts) if self._cache and task.cached else ""
        if self._cache and key and (kept := self._cache.find(key)):
            self._change(task, state=State.SKIPPED, outputs=kept[0], origin=kept[1])
            return
        given = executor_input(task, parameters, artifacts, str(self.folder / task.name))
        for attempt, pause in enumerate((*task.pauses, 0.0), start=1):
            started = time.monotonic()
            self._change(task, state=State.RUNNING, attempt=attempt)
            error, outputs = self._attempt(task, given)
            seconds = time.monotonic() - started
            if not error:
                if self._cache and key:
                    self._cache.keep(key, outputs, self.folder.name)
                self._change(task, state=State.SUCCEEDED, seconds=seconds, outputs=outputs, error="")
                return
            if self._cancelled.is_set() and not task.always:
                self._change(task, state=State.CANCELLED, seconds=seconds, error="cancelled")
                return
            self._change(task, seconds=seconds, error=error)
            self._cancelled.wait(pause)
        self._change(task, state=State.FAILED)

    def _attempt(self, task: Task, given: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Run the task's process to its end.

        Returns:
            What went wrong, empty if nothing did, and the task's outputs.
        """
        (self.folder / task.name).mkdir(parents=True, exist_ok=True)
        constants = {
            **self._constants,
            "pipeline_task_name": task.display,
            "pipeline_task_uuid": str(uuid.uuid4().int >> 65),
        }
        try:
            argv = command_line(task, given, constants)
        except UserError as error:
            return str(error), {}
        container = f"{self.folder.name}-{task.name}"
        if self.containers:
            argv = self.containers.argv(container, task.container, argv)
        own = {item["name"]: item.get("value", "") for item in task.container.get("env", [])}
        # Variables of the task's own may be read by an import.
        preloaded = None if own or self.containers else self.preloaded
        try:
            with Path(self._runs[task.name].log).open("ab") as log, self._lock:
                if self._cancelled.is_set() and not task.always:
                    return "cancelled", {}
                process = start(argv, self.cwd, {**environment(), **own}, log.fileno(), preloaded)
                self._processes[task.name] = process
        except (OSError, ValueError) as error:  # the latter for a NUL, which no argument can have
            return f"{argv[0]} could not be started: {getattr(error, 'strerror', error)}", {}
        code = process.wait()
        with self._lock:
            del self._processes[task.name]
        signal_group(process, signal.SIGKILL)  # what it has left behind ends with it, as in a container
        said = self.containers.remove(container) if self.containers else ""
        if code:
            return said or meaning(code), {}
        try:
            return "", executor_output(given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return f"it wrote no executor output that can be read ({type(error).__name__}: {error})", {}

    def _value(self, source: Source) -> Any:
        if source.pipeline_parameter is not None:
            return self._parameters.get(source.pipeline_parameter)
        if source.task is not None:
            return self._output(source)["parameters"].get(source.output)
        if source.status_of is not None:
            name, of = source.status_of
            failed = {task.name: task.display for task in self._tasks.values()}
            runs = [self._runs[task] for task in self._tasks if task in of]
            return final_status(name, self._constants["pipeline_job_resource_name"], runs, failed)
        return source.constant

    def _output(self, source: Source) -> Mapping[str, Any]:
        outputs = self._runs[source.task or ""].outputs
        assert outputs is not None, "a task runs after those it takes outputs of have succeeded"
        return outputs

    def _cancel(self) -> None:
        """End every running task but the exit task; asked a second time, the exit task as well."""
        with self._lock:
            again = self._cancelled.is_set()
            self._cancelled.set()
            processes = [process for name, process in self._processes.items() if again or not self._tasks[name].always]
        for process in processes:
            signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            signal_group(process, signal.SIGKILL)  # it, or what it has left of its group

    def _change(self, task: Task, **changes: Any) -> None:
        with self._lock:
            before = self._runs[task.name]
            self._runs[task.name] = now = replace(before, **changes)
        if (now.state, now.attempt) != (before.state, before.attempt):
            self.on_change(now)
        if now.state in ENDED and before.state not in ENDED:
            with self._lock:
                write_job(self._job(State.RUNNING), self.folder)

    def _job(self, state: str) -> PipelineJob:
        return PipelineJob(self.folder.name, self.folder.as_uri(), state, self._runs)
