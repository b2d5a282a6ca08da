"""Runs the tasks of a pipeline spec on this machine, each in its own process, in the order that Vertex AI would use."""

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

from ..contract.job import ENDED, PipelineJob, State, TaskRun, new_job_name
from ..contract.spec import Source, Spec, Task, pipeline_parameters, tasks
from ..errors import USE_WSL, UserError
from ..image.docker import inspect
from .cache import Cache
from .containers import Containers
from .jobs import final_status, state_of, write_job, write_spec_of_job
from .kfp_protocol import command_line, importer_outputs, make_executor_input, read_executor_output, refuse_paths
from .preloaded import Preloaded
from .processes import Process, environment, interrupts, meaning, signal_group, start

# Seconds between asking a process to end and killing it. The default of Kubernetes is 30.
_GRACE = 10.0


@dataclass(frozen=True)
class RunOptions:
    """Where and how the tasks of a job run.

    Args:
        folder: a folder for jobs and for the results of cached tasks; the job makes one of its own in it.
        cwd: working directory of the tasks.
        max_workers: how many tasks may run at the same time; None is one per CPU.
        containers: runs the tasks in their images; None runs them as processes of this machine.
        preloaded: starts the tasks that it can. The others, or all if it is None, start Python anew.
        fail_fast: whether only the exit task may start after a task has failed.
        conf: the folder with the project's configuration; None is ``conf``.
        config_variables: names of the environment variables that the project's configuration reads.
    """

    folder: Path
    cwd: Path
    max_workers: int | None = None
    containers: Containers | None = None
    preloaded: Preloaded | None = None
    fail_fast: bool = False
    conf: Path | None = None
    config_variables: Iterable[str] = ()


def run_spec(
    spec: Spec,
    options: RunOptions,
    *,
    name: str | None = None,
    resource_name: str | None = None,
    on_change: Callable[[TaskRun], None] = lambda run: None,
) -> PipelineJob:
    """Execute a compiled pipeline.

    Args:
        spec: the compiled spec.
        options: where and how its tasks run.
        name: name of the job, unique in the folder; None makes one.
        resource_name: the resource name that the tasks get for the job; None is the URL of its folder.
        on_change: called with each change of a task's state, from several threads.

    Returns:
        The job, ended; its ``resource_name`` is the URL of the folder with its logs and artifacts.

    Raises:
        UserError: when the spec has something that cannot be executed here, or this is Windows; nothing has run then.
    """
    if not hasattr(os, "killpg"):
        raise UserError(f"Windows itself cannot run the steps of a pipeline. {USE_WSL}")
    refuse_paths(spec["pipelineInfo"]["name"], tasks(spec))
    folder = options.folder.resolve() / (name or new_job_name(spec["pipelineInfo"]["name"]))
    return _Scheduler(spec, options, folder, resource_name or folder.as_uri(), on_change).run()


@dataclass
class _Scheduler:
    """The state of one job; ``run`` is the scheduler, ``_execute`` is what a worker thread does."""

    spec: Spec
    options: RunOptions
    folder: Path
    resource_name: str
    on_change: Callable[[TaskRun], None]

    def __post_init__(self) -> None:
        self._created = datetime.now(UTC)
        self._parameters = pipeline_parameters(self.spec)
        self._tasks = {task.name: task for task in tasks(self.spec)}
        self._runs = {name: TaskRun(name, str(self.folder / name / "log.txt")) for name in self._tasks}
        self._processes: dict[str, Process] = {}
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._cache = None
        if cached := [task for task in self._tasks.values() if task.cached]:
            names = {task.container["image"] for task in cached} if self.options.containers else ()
            images = {name: inspect("image", name)["Id"] for name in names}
            folder = self.folder.parent / ".cache"
            conf = self.options.conf or self.options.cwd / "conf"
            self._cache = Cache(folder, self.options.cwd, conf, self.options.config_variables, images)
        self._constants = {
            "pipeline_job_name": self.folder.name,
            "pipeline_job_uuid": _new_number(),
            "pipeline_job_resource_name": self.resource_name,
            "pipeline_root": str(self.folder),
            "pipeline_job_create_time_utc": self._created.isoformat(timespec="seconds"),
        }

    def run(self) -> PipelineJob:
        running: set[Future[None]] = set()
        write_spec_of_job(self.spec, self.folder)
        preloaded = self.options.preloaded
        if preloaded and preloaded.why_not:
            preloaded = None
        workers = self.options.max_workers or os.cpu_count() or 1
        with interrupts(self._cancel), ThreadPoolExecutor(workers, thread_name_prefix="task") as pool:
            while True:
                running |= {pool.submit(self._execute, task, preloaded) for task in self._startable()}
                if not running:
                    break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
        job = self._job(state_of(self._runs.values()))
        write_job(job, self.folder)
        return job

    def _startable(self) -> Iterable[Task]:
        """Yield the pending tasks that can start now, and end those that never will."""
        progress = True
        while progress:
            progress = False
            has_failed = state_of(self._runs.values()) == State.FAILED
            is_stopping = self._cancelled.is_set() or (self.options.fail_fast and has_failed)
            for task in self._tasks.values():
                if self._runs[task.name].state != State.PENDING:
                    continue
                states = {self._runs[name].state for name in task.upstream}
                if not states <= ENDED:
                    continue
                if task.always or (states <= {State.SUCCEEDED, State.SKIPPED} and not is_stopping):
                    self._change(task, state=State.RUNNING)
                    yield task
                else:
                    self._change(task, state=State.CANCELLED if self._cancelled.is_set() else State.NOT_TRIGGERED)
                    progress = True

    def _execute(self, task: Task, preloaded: Preloaded | None) -> None:
        values = {name: self._value(source) for name, source in task.parameters.items()}
        parameters = {name: value for name, value in values.items() if value is not None}
        if task.importer:
            self._change(task, state=State.SUCCEEDED, outputs=importer_outputs(task, parameters))
            return
        artifacts = {name: self._output(source)["artifacts"][source.output] for name, source in task.artifacts.items()}
        key = self._cache.key(task, parameters, artifacts) if self._cache and task.cached else ""
        if self._cache and key and (result := self._cache.find(key)):
            outputs, origin = result
            self._change(task, state=State.SKIPPED, outputs=outputs, origin=origin)
            return
        executor_input = make_executor_input(task, parameters, artifacts, str(self.folder / task.name))
        for attempt, pause in enumerate((*task.pauses, 0.0), start=1):
            started = time.monotonic()
            self._change(task, state=State.RUNNING, attempt=attempt)
            error, outputs = self._attempt(task, executor_input, preloaded)
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

    def _attempt(
        self, task: Task, executor_input: Mapping[str, Any], preloaded: Preloaded | None
    ) -> tuple[str, Mapping[str, Any]]:
        """Run the task's process to its end.

        Args:
            task: the task.
            executor_input: see ``make_executor_input``.
            preloaded: an interpreter that may fork it.

        Returns:
            The error, empty if there is none, and the task's outputs.
        """
        (self.folder / task.name).mkdir(parents=True, exist_ok=True)
        constants = {**self._constants, "pipeline_task_name": task.display, "pipeline_task_uuid": _new_number()}
        try:
            argv = command_line(task, executor_input, constants)
        except UserError as error:
            return str(error), {}
        container, containers = f"{self.folder.name}-{task.name}", self.options.containers
        variables = {item["name"]: item.get("value", "") for item in task.container.get("env", [])}
        if containers:
            argv = containers.argv(container, task.container, argv)
            variables = containers.environment_of_docker(task.container)
        # An import before the fork may have read a variable.
        interpreter = None if variables or containers else preloaded
        try:
            with Path(self._runs[task.name].log).open("ab") as log, self._lock:
                if self._cancelled.is_set() and not task.always:
                    return "cancelled", {}
                process = start(argv, self.options.cwd, {**environment(), **variables}, log.fileno(), interpreter)
                self._processes[task.name] = process
        except (OSError, ValueError) as error:  # a ValueError if an argument has a NUL in it
            return f"{argv[0]} could not be started: {getattr(error, 'strerror', error)}", {}
        code = process.wait()
        with self._lock:
            del self._processes[task.name]
        signal_group(process, signal.SIGKILL)  # kill leftover child processes, as a container would
        reason = containers.remove(container) if containers else ""
        if code:
            return reason or meaning(code), {}
        try:
            return "", read_executor_output(executor_input)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return f"its executor output cannot be read ({type(error).__name__}: {error})", {}

    def _value(self, source: Source) -> Any:
        if source.pipeline_parameter is not None:
            return self._parameters.get(source.pipeline_parameter)
        if source.task is not None:
            return self._output(source)["parameters"].get(source.output)
        if source.status_of is not None:
            name, members = source.status_of
            display_names = {task.name: task.display for task in self._tasks.values()}
            runs = [self._runs[task] for task in self._tasks if task in members]
            return final_status(name, self.resource_name, runs, display_names)
        return source.constant

    def _output(self, source: Source) -> Mapping[str, Any]:
        outputs = self._runs[source.task or ""].outputs
        assert outputs is not None, "a task runs only after the tasks whose outputs it reads have succeeded"
        return outputs

    def _cancel(self) -> None:
        """End every running task but the exit task; when called a second time, the exit task as well."""
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
            signal_group(process, signal.SIGKILL)  # it, or what is left of its group

    def _change(self, task: Task, **changes: Any) -> None:
        with self._lock:
            old = self._runs[task.name]
            self._runs[task.name] = new = _with_times(old, replace(old, **changes))
        if (new.state, new.attempt) != (old.state, old.attempt):
            self.on_change(new)
        if new.state in ENDED and old.state not in ENDED:
            with self._lock:
                write_job(self._job(State.RUNNING), self.folder)

    def _job(self, state: str) -> PipelineJob:
        ended = datetime.now(UTC) if state in ENDED else None
        return PipelineJob(
            self.folder.name, self.folder.as_uri(), state, self._runs,
            created=self._created, started=self._created, ended=ended, spec=self.spec,
        )  # fmt: skip


def _with_times(old: TaskRun, new: TaskRun) -> TaskRun:
    """A task that has come further, with the times of what has just happened to it."""
    now = datetime.now(UTC)
    if new.state == State.RUNNING and not old.created:
        new = replace(new, created=now)
    if new.attempt > old.attempt:
        new = replace(new, started=old.started or now, attempts=(*old.attempts, now))
    if new.state in ENDED and new.created and not old.ended:
        new = replace(new, ended=now)
    return new


def _new_number() -> str:
    """A number like those that Vertex AI gives to jobs and tasks."""
    return str(uuid.uuid4().int >> 65)
