"""The arguments of a container: what ``compile`` tells a task, and how the task reads it."""

import hashlib
import json
import sys
import zlib
from argparse import ArgumentParser, Namespace
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from .names import DOCTOR_TASK, FINISH_TASK, GATHER_PREFIX, START_TASK

# https://www.kubeflow.org/docs/components/pipelines/user-guides/components/additional-functionality/#placeholders
_EXECUTOR_INPUT_PLACEHOLDER = "{{$}}"
_JOB_PLACEHOLDERS = {
    "job_name": "{{$.pipeline_job_name}}",
    "job_id": "{{$.pipeline_job_uuid}}",
    "job_resource_name": "{{$.pipeline_job_resource_name}}",
    "job_created": "{{$.pipeline_job_create_time_utc}}",
}
# JSON with more letters than this is compressed, because an argument has at most 128 KiB.
_LONG = 8 * 1024
# What compressed texts begin with, and JSON does not.
_COMPRESSED = "eN"


@dataclass(frozen=True)
class TaskArguments:
    """What a container is told about its task, besides KFP's executor input.

    A text travels as it is and everything else as JSON, each as an argument of its own, so no shell ever reads it. Long
    JSON is compressed.

    Args:
        task: the task's name in the spec. The platform may show the task under another name.
        pipeline: name of the Kedro pipeline; several are joined by commas.
        env: Kedro configuration environment; empty for Kedro's default.
        conf_source: folder of the configuration, below the project's; empty for Kedro's default.
        host_aliases: host name → IP address.
        load_versions: dataset → the version to load.
        is_async: whether datasets are loaded and saved side by side.
    """

    task: str
    pipeline: str
    env: str = ""
    conf_source: str = ""
    host_aliases: Mapping[str, str] = field(default_factory=dict)
    load_versions: Mapping[str, str] = field(default_factory=dict)
    is_async: bool = False

    def argv(self) -> list[str]:
        """The arguments of the container's command, with placeholders that the platform fills in."""
        values = {item.name: value for item in fields(self) if (value := getattr(self, item.name))}
        texts = {name: value if isinstance(value, str) else _written(value) for name, value in values.items()}
        # With `=`, a name that begins with a hyphen is still a value.
        options = [f"{_option(name)}={text}" for name, text in texts.items()]
        placeholders = {"executor_input": _EXECUTOR_INPUT_PLACEHOLDER, **_JOB_PLACEHOLDERS}
        return options + [item for name, value in placeholders.items() for item in (_option(name), value)]

    @classmethod
    def of(cls, argv: Sequence[str]) -> Self:
        """Read in a spec what ``argv`` wrote, and leave the placeholders alone."""
        texts = dict(item.split("=", 1) for item in argv if item.startswith("--") and "=" in item)
        values: dict[str, Any] = {"task": "", "pipeline": ""}
        for item in fields(cls):
            if (text := texts.get(_option(item.name))) is not None:
                values[item.name] = text if item.type is str else _read(text)
        return cls(**values)


@dataclass(frozen=True)
class TakingArguments(TaskArguments):
    """What a task is told about the artifacts that it takes.

    Args:
        imported: key of an artifact that no step of the job makes, uploaded or of an earlier job → its ``uri`` and
            ``sha256`` as they were when the job was compiled. Nobody can change them since, unlike metadata.
        root: URI below which this environment's jobs keep their artifacts; empty on this machine.
        indexes: keys of the artifacts that stand for others; keys that are told otherwise may be listed there.
        known: index → ``digest_of`` what would be ``imported`` of the artifacts that it stands for.
        index: key of the one artifact that stands for all that the task makes; empty if each is an artifact.
    """

    imported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    root: str = ""
    indexes: Sequence[str] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    index: str = ""


@dataclass(frozen=True)
class StepArguments(TakingArguments):
    """What a step is told.

    Args:
        nodes: Kedro nodes to run, in this order.
        artifacts: dataset → key of the artifact by which it travels between steps as a pickle.
        files: dataset of the catalog → key of the artifact by which its files on local disk are carried.
        raw: file or folder that was uploaded → key of the artifact that it is fetched from.
        models: dataset that kedro-mlflow keeps in the run → key of the artifact that knows the model's address.
        versions: versioned dataset → key of the artifact that knows under which version the job has saved it.
        lineage: dataset → what Vertex AI's lineage is told about it: ``key``, ``uri``, ``metadata``, and whether its
            ``numbers`` are metrics.
        timeout: seconds after which the step stops itself; 0 for no limit.
        reads: files and folders on local disk that no step makes. The step needs no list of them; what keeps results
            of earlier runs on this machine does.
        fingerprint: what the result of the step depends on, for jobs that may take it.
        inputs: datasets of the catalog that no step makes, and that this is the first step to read.
        system_metrics: whether MLflow's sampler measures the step's machine.
    """

    nodes: Sequence[str] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    timeout: int = 0
    reads: Sequence[str] = ()
    fingerprint: str = ""
    inputs: Sequence[str] = ()
    system_metrics: bool = False


@dataclass(frozen=True)
class GatheringArguments(TakingArguments):
    """What a task is told that runs no nodes: it writes an index of the artifacts that it takes."""


@dataclass(frozen=True)
class JobArguments(TaskArguments):
    """What the first and the last task of a job are told about the whole of it.

    Args:
        image: the container image of the steps.
        code: the uploaded code that the steps run, if not the image's: its ``uri``, the ``commit``, and whether it is
            ``dirty``.
        resolve: values of the configuration that the first task resolves for all steps: ``{"catalog": {"sales":
            {"filepath": true}}}``.
        selection: which part of the pipeline the job runs, by the arguments of Kedro's ``Pipeline.filter``, for a job
            that resumes this one.
        resumed: the job that this one resumes: ``job``, ``resource_name``, the ``nodes`` that do not run again, the
            ``fingerprints`` of their steps, and the ``keys`` of datasets that are taken.
        on_exit: Kedro pipeline that the last task runs.
        registry: ``run_config.registry``, if the job makes its model.
        notify: ``run_config.notify``, which names the secret that has the webhook's address.
        spec: the spec of the job, see ``contract.spec.packed``; empty if it is too long.
        command: how the job was launched, as it was typed.
        repository: the address of the project's repository, without a password.
        schedule: the entry of ``run_config.schedules`` that launches the job.
        launch: the entry of ``run_config.launches`` that it is.
        hidden: parameters whose values are written nowhere but into MLflow's params, because they may be secrets.
    """

    image: str = ""
    code: Mapping[str, Any] = field(default_factory=dict)
    resolve: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    resumed: Mapping[str, Any] = field(default_factory=dict)
    on_exit: str = ""
    registry: Mapping[str, Any] = field(default_factory=dict)
    notify: Mapping[str, Any] = field(default_factory=dict)
    spec: str = ""
    command: str = ""
    repository: str = ""
    schedule: str = ""
    launch: str = ""
    hidden: Sequence[str] = ()


def parse_arguments(
    argv: Sequence[str] | None = None,
) -> tuple[StepArguments | GatheringArguments | JobArguments, Mapping[str, Any], Namespace]:
    """Read what ``TaskArguments.argv`` wrote.

    Returns:
        The arguments; KFP's executor input; and what the platform says about the job: ``job_name``, ``job_id``,
        ``job_resource_name``, ``job_created``.
    """
    argv = sys.argv[1:] if argv is None else argv
    cls = _class_of(TaskArguments.of(argv).task)
    parser = ArgumentParser(prog="step", description="Runs one task of a compiled pipeline.", allow_abbrev=False)
    for item in fields(cls):
        coding: Any = str if item.type is str else _read
        parser.add_argument(_option(item.name), type=coding, required=item.name in ("task", "pipeline"))
    parser.add_argument(_option("executor_input"), type=json.loads, required=True)
    for name in _JOB_PLACEHOLDERS:
        parser.add_argument(_option(name), required=True)
    platform = parser.parse_args(argv)
    values = {item.name: value for item in fields(cls) if (value := getattr(platform, item.name)) is not None}
    return cls(**values), platform.executor_input, platform


def _class_of(task: str) -> type[StepArguments] | type[GatheringArguments] | type[JobArguments]:
    if task.startswith(GATHER_PREFIX):
        return GatheringArguments
    return JobArguments if task in (START_TASK, FINISH_TASK, DOCTOR_TASK) else StepArguments


def digest_of(imported: Mapping[str, Mapping[str, str]]) -> str:
    """The SHA-256 of what is known of artifacts when a job is compiled: key → ``uri`` and ``sha256``."""
    return hashlib.sha256(json.dumps(imported, sort_keys=True).encode()).hexdigest()


def compressed(text: str) -> str:
    """A text that is shorter, and still one that may be an argument."""
    return b64encode(zlib.compress(text.encode(), level=9)).decode()


def decompressed(text: str) -> str:
    """The text that ``compressed`` has made shorter."""
    return zlib.decompress(b64decode(text)).decode()


def _written(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONG else compressed(text)


def _read(text: str) -> Any:
    return json.loads(decompressed(text) if text.startswith(_COMPRESSED) else text)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
