"""The arguments of a container: what ``compile`` tells a task, and how the task reads it."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

# https://www.kubeflow.org/docs/components/pipelines/user-guides/components/additional-functionality/#placeholders
_EXECUTOR_INPUT_PLACEHOLDER = "{{$}}"
_JOB_PLACEHOLDERS = {
    "job_name": "{{$.pipeline_job_name}}",
    "job_id": "{{$.pipeline_job_uuid}}",
    "job_resource_name": "{{$.pipeline_job_resource_name}}",
    "job_created": "{{$.pipeline_job_create_time_utc}}",
}


@dataclass(frozen=True)
class StepArguments:
    """What a container is told about its task, besides KFP's executor input.

    A text travels as it is and everything else as JSON, each as an argument of its own, so no shell ever reads it.

    Args:
        task: the task's name in the spec. The platform may show the task under another name.
        pipeline: name of the Kedro pipeline; several are joined by commas.
        nodes: Kedro nodes to run, in this order; empty in the first and the last task of a job.
        env: Kedro configuration environment; empty for Kedro's default.
        conf_source: folder of the configuration, below the project's; empty for Kedro's default.
        artifacts: dataset → key of the artifact by which it travels between steps as a pickle.
        files: dataset of the catalog → key of the artifact by which its files on local disk are carried.
        raw: file or folder that was uploaded → key of the artifact that it is fetched from.
        models: dataset that kedro-mlflow keeps in the run → key of the artifact that knows the model's address.
        lineage: dataset → what Vertex AI's lineage is told about it: ``key``, ``uri``, ``metadata``, and whether its
            ``numbers`` are metrics.
        timeout: seconds after which the step stops itself; 0 for no limit.
        host_aliases: host name → IP address.
        load_versions: dataset → the version to load.
        is_async: whether datasets are loaded and saved side by side.
        reads: files and folders on local disk that no step makes. The step needs no list of them; what keeps results
            of earlier runs on this machine does.
        resolve: values of the configuration that the first task resolves for all steps: ``{"catalog": {"sales":
            {"filepath": true}}}``; only the first task gets it.
        fingerprint: what the result of the step depends on, for jobs that may take it.
        selection: which part of the pipeline the job runs, by the arguments of Kedro's ``Pipeline.filter``; only the
            first task gets it, for a job that resumes this one.
        resumed: the job that this one resumes: ``job``, ``resource_name``, the ``nodes`` that do not run again, the
            ``fingerprints`` of their steps, and the ``keys`` of datasets that are taken; only the first task gets it.
        image: the container image of the steps; only the first task gets it.
        code: the uploaded code that the steps run, if not the image's: its ``uri``, the ``commit``, and whether it is
            ``dirty``; only the first task gets it.
        on_exit: Kedro pipeline that the last task runs.
    """

    task: str
    pipeline: str
    nodes: Sequence[str] = ()
    env: str = ""
    conf_source: str = ""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    timeout: int = 0
    host_aliases: Mapping[str, str] = field(default_factory=dict)
    load_versions: Mapping[str, str] = field(default_factory=dict)
    is_async: bool = False
    reads: Sequence[str] = ()
    resolve: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    selection: Mapping[str, Any] = field(default_factory=dict)
    resumed: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    code: Mapping[str, Any] = field(default_factory=dict)
    on_exit: str = ""

    def argv(self) -> list[str]:
        """The arguments of the container's command, with placeholders that the platform fills in."""
        values = {item.name: value for item in fields(self) if (value := getattr(self, item.name))}
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        # With `=`, a name that begins with a hyphen is still a value.
        options = [f"{_option(name)}={text}" for name, text in texts.items()]
        placeholders = {"executor_input": _EXECUTOR_INPUT_PLACEHOLDER, **_JOB_PLACEHOLDERS}
        return options + [item for name, value in placeholders.items() for item in (_option(name), value)]

    @classmethod
    def of(cls, argv: Sequence[str]) -> "StepArguments":
        """Read in a spec what ``argv`` wrote, and leave the placeholders alone."""
        texts = dict(item.split("=", 1) for item in argv if item.startswith("--") and "=" in item)
        values: dict[str, Any] = {"task": "", "pipeline": ""}
        for item in fields(cls):
            if (text := texts.get(_option(item.name))) is not None:
                values[item.name] = text if item.type is str else json.loads(text)
        return cls(**values)


def parse_step_arguments(argv: Sequence[str] | None = None) -> tuple[StepArguments, Mapping[str, Any], Namespace]:
    """Read what ``StepArguments.argv`` wrote.

    Returns:
        The arguments; KFP's executor input; and what the platform says about the job: ``job_name``, ``job_id``,
        ``job_resource_name``, ``job_created``.
    """
    parser = ArgumentParser(prog="step", description="Runs one task of a compiled pipeline.", allow_abbrev=False)
    for item in fields(StepArguments):
        coding: Any = str if item.type is str else json.loads
        parser.add_argument(_option(item.name), type=coding, required=item.name in ("task", "pipeline"))
    parser.add_argument(_option("executor_input"), type=json.loads, required=True)
    for name in _JOB_PLACEHOLDERS:
        parser.add_argument(_option(name), required=True)
    read = parser.parse_args(argv)
    values = {item.name: value for item in fields(StepArguments) if (value := getattr(read, item.name)) is not None}
    return StepArguments(**values), read.executor_input, read


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
