"""Pipeline spec ↔ its file, and pipeline spec → its tasks, with the source of each of their inputs.

Except for reading and writing, these are pure functions over the JSON that the KFP SDK writes (``schemaVersion``
2.1.0). Dependencies and trigger policies mean the same as on Vertex AI. Field names:
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..whole_file import write_whole
from .arguments import compressed, decompressed
from .custom_job import unwrapped
from .limits import MAX_ARGUMENT
from .names import PARAMS, START_TASK
from .params import decode, encode

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A container task or an importer in any of the nested graphs of a spec.

    Args:
        name: unique in the spec.
        display: the name that people see.
        component: its ``ComponentSpec``.
        container: its ``PipelineContainerSpec``; that of the step inside if the task launches a custom job; empty for
            an importer.
        parameters: input parameter → where its value comes from.
        artifacts: input artifact → the task and the output key that it comes from.
        upstream: tasks that must end before this one starts.
        always: whether it runs even if one of those has failed.
        pauses: seconds before each further attempt at it when it fails.
        cached: whether the result of an earlier run may be reused.
        importer: its ``ImporterSpec``, if it only hands on an artifact that exists; else empty.
    """

    name: str
    display: str
    component: Spec
    container: Spec
    parameters: Mapping[str, "Source"]
    artifacts: Mapping[str, "Source"]
    upstream: frozenset[str]
    always: bool
    pauses: tuple[float, ...]
    cached: bool
    importer: Spec = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where an input comes from: a constant, a pipeline parameter, a task's output, or the final status of tasks."""

    constant: Any = None
    pipeline_parameter: str | None = None
    task: str | None = None
    output: str | None = None
    status_of: tuple[str, frozenset[str]] | None = None


def read_spec(path: Path) -> Spec:
    """Read a compiled spec, JSON or YAML.

    Raises:
        UserError: when the file cannot be read, or is not a pipeline spec.
    """
    fix = "Make one with: kedro vertexai compile"
    try:
        text = path.read_text(encoding="utf-8")
        spec = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        _ = spec["pipelineInfo"]["name"], spec["deploymentSpec"]["executors"], spec["components"]
        _ = spec["root"]["dag"]["tasks"]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--spec {path} cannot be read ({error}). {fix}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"--spec {path} is neither JSON nor YAML ({str(error).splitlines()[0]}). {fix}") from None
    except (KeyError, TypeError):
        raise UserError(f"--spec {path} is not a compiled pipeline spec. {fix}") from None
    return spec


def write_spec(spec: Mapping[str, Any], path: Path) -> None:
    """Write a spec as JSON, or as YAML if the file's name ends like that. A failure leaves an old file as it was.

    Raises:
        UserError: when the file cannot be written.
    """
    is_yaml = path.suffix in (".yaml", ".yml")
    text = yaml.safe_dump(dict(spec), sort_keys=False) if is_yaml else json.dumps(spec, indent=2) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        fix = "Name a file in a folder that exists and can be written."
        raise UserError(f"--output {path}: {error.strerror}. {fix}") from None


def packed(spec: Spec) -> str:
    """A spec as a text that is short enough for an argument of a task.

    One of a thousand steps is too long for that. It then says of each task no more than its nodes and its machine.
    If that is too long as well, the text is empty.
    """
    for content in (spec, _without_details(spec)):
        text = compressed(json.dumps(content, separators=(",", ":")))
        if len(text) <= MAX_ARGUMENT:
            return text
    return ""


def _without_details(spec: Spec) -> Spec:
    short = json.loads(json.dumps(spec))
    for executor in short.get("deploymentSpec", {}).get("executors", {}).values():
        executor.get("importer", {}).pop("metadata", None)
        if container := executor.get("container"):
            container["args"] = [item for item in container.get("args", ()) if item.startswith(("--task=", "--nodes="))]
    return short


def unpacked(text: str) -> Spec:
    """The spec that ``packed`` has written; empty if the text is."""
    return json.loads(decompressed(text)) if text else {}


def with_arguments(spec: Spec, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Copy a spec, and give its first task further arguments.

    Args:
        spec: a compiled spec.
        arguments: fields of ``JobArguments`` that are texts. Those that are there already are replaced. If all are
            empty, the spec is returned as it is.
    """
    # KFP would replace a placeholder that somebody has typed.
    options = {f"--{name}": value.replace("{{$", "{{ $") for name, value in arguments.items() if value}
    if not options:
        return dict(spec)
    changed = json.loads(json.dumps(spec))
    for task in tasks(changed):
        if task.name == START_TASK and task.container:
            rest = [item for item in task.container["args"] if item.partition("=")[0] not in options]
            task.container["args"][:] = [*rest, *(f"{name}={value}" for name, value in options.items())]
    return changed


def with_params(spec: Spec, params: Mapping[str, Any]) -> Spec:
    """Copy a spec, and make these runtime parameters the default of its ``params``.

    Args:
        spec: a compiled spec.
        params: runtime parameters, as a nested dictionary. If there are none, the spec is returned as it is.

    Raises:
        UserError: when the pipeline of the spec takes no runtime parameters.
    """
    if not params:
        return spec
    changed = json.loads(json.dumps(spec))
    parameters = definitions(changed["root"], "input", "parameters")
    if PARAMS not in parameters:
        raise UserError(f"--params: the pipeline of this spec has no parameter '{PARAMS}'. Leave out --params.")
    parameters[PARAMS]["defaultValue"] = encode(params)
    return changed


def default_params(spec: Spec) -> dict[str, Any]:
    """The runtime parameters that are the default of a spec's ``params``, nested."""
    return decode(definitions(spec["root"], "input", "parameters")[PARAMS].get("defaultValue", {}))


def tasks(spec: Spec) -> list[Task]:
    """List all container tasks and importers of a spec, including those in nested graphs.

    Raises:
        UserError: when the spec needs something that only Vertex AI can run; the message names it.
    """
    parameters = {name: Source(pipeline_parameter=name) for name in definitions(spec["root"], "input", "parameters")}
    return list(_Graphs(spec).tasks(spec["root"]["dag"], parameters, {}))


def pipeline_parameters(spec: Spec) -> dict[str, Any]:
    """The values of the pipeline's parameters, which are the defaults in the spec.

    Raises:
        UserError: when a parameter has no value.
    """
    parameters = definitions(spec["root"], "input", "parameters")
    for name, definition in parameters.items():
        if "defaultValue" not in definition and not definition.get("isOptional"):
            raise UserError(f"The pipeline's parameter '{name}' has no value.")
    return {name: definition["defaultValue"] for name, definition in parameters.items() if "defaultValue" in definition}


class _Graphs:
    """Flattens the nested graphs of a spec, such as the one inside an exit handler."""

    def __init__(self, spec: Spec) -> None:
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        graphs = [spec["root"], *self._components.values()]
        self._counts = Counter(key for graph in graphs for key in graph.get("dag", {}).get("tasks", {}))

    def tasks(
        self,
        dag: Spec,
        parameters: Mapping[str, Source],
        artifacts: Mapping[str, Source],
        upstream: frozenset[str] = frozenset(),
        prefix: str = "",
    ) -> Iterator[Task]:
        """Yield the tasks of a graph whose own inputs come from ``parameters`` and ``artifacts``."""
        leaves = {key: self._leaves(key, task, prefix) for key, task in dag["tasks"].items()}
        for key, task in dag["tasks"].items():
            _refuse_unsupported(key, task)
            component = self._components[task["componentRef"]["name"]]
            inputs = task.get("inputs", {})
            parameter_sources = {
                name: Source(constant=definition["defaultValue"])
                for name, definition in definitions(component, "input", "parameters").items()
                if "defaultValue" in definition
            }
            for name, source in inputs.get("parameters", {}).items():
                parameter_sources[name] = _source(key, source, parameters, leaves)
            artifact_sources = {
                name: _source(key, source, artifacts, leaves) for name, source in inputs.get("artifacts", {}).items()
            }
            earlier = upstream.union(*(leaves[name] for name in task.get("dependentTasks", [])))
            if "dag" in component:
                yield from self.tasks(component["dag"], parameter_sources, artifact_sources, earlier, f"{prefix}{key}.")
                continue
            executor = self._executors[component["executorLabel"]]
            if executor.keys().isdisjoint(("container", "importer")):
                kinds = ", ".join(executor)
                raise UserError(
                    f"Task '{key}' is neither a container task nor an importer ({kinds}). Only Vertex AI can run it."
                )
            yield Task(
                name=self._name(key, prefix),
                display=task.get("taskInfo", {}).get("name", key),
                component=component,
                container=unwrapped(executor.get("container", {})),
                parameters=parameter_sources,
                artifacts=artifact_sources,
                upstream=earlier,
                always=task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED",
                pauses=_pauses(task.get("retryPolicy", {})),
                cached=task.get("cachingOptions", {}).get("enableCache", False) and "container" in executor,
                importer=executor.get("importer", {}),
            )

    def _leaves(self, key: str, task: Spec, prefix: str) -> frozenset[str]:
        component = self._components[task["componentRef"]["name"]]
        if "dag" not in component:
            return frozenset([self._name(key, prefix)])
        inner = component["dag"]["tasks"].items()
        return frozenset[str]().union(*(self._leaves(name, task, f"{prefix}{key}.") for name, task in inner))

    def _name(self, key: str, prefix: str) -> str:
        """A task's key. The graphs around it are put in front if another graph has a task with the same key."""
        return key if self._counts[key] == 1 else prefix + key


def _source(task: str, source: Spec, scope: Mapping[str, Source], leaves: Mapping[str, frozenset[str]]) -> Source:
    kind, value = next(iter(source.items()))
    if kind == "runtimeValue" and "constant" in value:
        return Source(constant=value["constant"])
    if kind in ("componentInputParameter", "componentInputArtifact") and len(source) == 1:
        return scope.get(value, Source())
    if kind in ("taskOutputParameter", "taskOutputArtifact") and len(leaves[value["producerTask"]]) == 1:
        (producer,) = leaves[value["producerTask"]]
        return Source(task=producer, output=value.get("outputParameterKey") or value["outputArtifactKey"])
    if kind == "taskFinalStatus":
        return Source(status_of=(value["producerTask"], leaves[value["producerTask"]]))
    raise UserError(f"Task '{task}' has an input of kind {' with '.join(source)}, which only Vertex AI understands.")


def _refuse_unsupported(key: str, task: Spec) -> None:
    for feature in ("parameterIterator", "artifactIterator"):
        if feature in task:
            raise UserError(f"Task '{key}' has a {feature}. Only Vertex AI can run loops.")
    if "condition" in task.get("triggerPolicy", {}):
        raise UserError(f"Task '{key}' has a condition. Only Vertex AI can run conditions.")


def _pauses(policy: Spec) -> tuple[float, ...]:
    first = float(policy.get("backoffDuration", "0s").removesuffix("s"))
    factor = float(policy.get("backoffFactor", 2.0))
    longest = float(policy.get("backoffMaxDuration", "3600s").removesuffix("s"))
    return tuple(min(first * factor**number, longest) for number in range(int(policy.get("maxRetryCount", 0))))


def definitions(component: Spec, side: str, kind: str) -> Mapping[str, Any]:
    """A component's ``input`` or ``output`` definitions of its ``parameters`` or ``artifacts``."""
    return component.get(f"{side}Definitions", {}).get(kind, {})
