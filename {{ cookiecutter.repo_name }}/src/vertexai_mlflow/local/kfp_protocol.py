"""KFP's protocol between platform and container: a task's executor input, command line and executor output.

The executor input is one JSON message with the values and artifacts that a task gets, and the places where its outputs
belong. The platform replaces placeholders in the task's command by parts of that message. When the task has ended, the
platform reads the executor output that the task has written.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from ..contract.spec import Task, definitions
from ..errors import UserError

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
# Names that a file or folder of a job may have. KFP's own rules are stricter.
_NAME = re.compile(r"\w[\w.-]*")
_KEYED = re.compile(r"\.(inputs|outputs)\.(parameters|artifacts)\['(.+?)'\](?:\.(\w+))?(?:\['(.+?)'\])?")


def refuse_paths(pipeline: str, tasks: Sequence[Task]) -> None:
    """Refuse a spec with names that could lead out of the job's folder.

    Args:
        pipeline: the pipeline's name.
        tasks: its tasks. They and their outputs get files and folders of their names.

    Raises:
        UserError: with all such names.
    """
    kinds = "parameters", "artifacts"
    outputs = (definitions(task.component, "output", kind) for task in tasks for kind in kinds)
    names = [pipeline, *(task.name for task in tasks), *chain(*outputs)]
    if wrong := [repr(name) for name in names if not _NAME.fullmatch(name)]:
        raise UserError(f"These names in the spec cannot be file names: {', '.join(wrong)}. Use only [A-Za-z0-9_.-].")


def make_executor_input(
    task: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    """Make KFP's ExecutorInput, as the platform passes it to the container.

    Args:
        task: the task.
        parameters: its input parameters' values.
        artifacts: its input artifacts, each a RuntimeArtifact.
        folder: path or URI below which its outputs go.
    """
    outputs = {
        key: {"name": key, "type": definition["artifactType"], "uri": f"{folder}/{key}", "metadata": {}}
        for key, definition in definitions(task.component, "output", "artifacts").items()
    }
    return {
        "inputs": {
            "parameterValues": dict(parameters),
            "artifacts": {key: {"artifacts": [artifact]} for key, artifact in artifacts.items()},
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": f"{folder}/{name}"} for name in definitions(task.component, "output", "parameters")
            },
            "artifacts": {key: {"artifacts": [artifact]} for key, artifact in outputs.items()},
            "outputFile": f"{folder}/executor_output.json",
        },
    }


def command_line(task: Task, executor_input: Mapping[str, Any], constants: Mapping[str, str]) -> list[str]:
    """The container's command and arguments. Placeholders are replaced once, and never inside the values put in.

    Args:
        task: the task.
        executor_input: see ``make_executor_input``.
        constants: what the platform says about job and task: ``pipeline_job_name`` → its value.

    Raises:
        UserError: with the name of a placeholder that has no value.
    """
    return [
        _PLACEHOLDER.sub(lambda match: _placeholder(task, match.group(1), executor_input, constants), argument)
        for argument in [*task.container.get("command", []), *task.container.get("args", [])]
    ]


def read_executor_output(executor_input: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a task has written, at the places that its executor input names.

    Returns:
        ``parameters``, from their files and from KFP's ExecutorOutput, and ``artifacts``, with their metadata.
    """
    outputs = executor_input["outputs"]
    message: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        text = Path(outputs["outputFile"]).read_text(encoding="utf-8")
        message = json.loads(text, parse_constant=_refuse_constant)
    parameters = dict(message.get("parameterValues", {}))
    for name, parameter in outputs["parameters"].items():
        with suppress(FileNotFoundError):
            parameters[name] = Path(parameter["outputFile"]).read_text(encoding="utf-8")
    artifacts = {}
    for key, value in outputs["artifacts"].items():
        (artifact,) = value["artifacts"]
        (update,) = message.get("artifacts", {}).get(key, {"artifacts": [{}]})["artifacts"]
        artifacts[key] = {**artifact, **{name: item for name, item in update.items() if item}}
    return {"parameters": parameters, "artifacts": artifacts}


def _refuse_constant(name: str) -> None:
    """Refuse NaN and infinity, which JSON does not have, although Python writes and reads them."""
    raise ValueError(f"{name} is not JSON")


def importer_outputs(task: Task, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of an importer: an artifact that exists already, by its URI.

    Args:
        task: the importer.
        parameters: its input parameters' values.
    """
    source, metadata = task.importer["artifactUri"], task.importer.get("metadata", {})
    uri = parameters[source["runtimeParameter"]] if "runtimeParameter" in source else source["constant"]
    artifacts = {
        key: {"name": key, "type": definition["artifactType"], "uri": uri, "metadata": metadata}
        for key, definition in definitions(task.component, "output", "artifacts").items()
    }
    return {"parameters": {}, "artifacts": artifacts}


def _placeholder(task: Task, text: str, executor_input: Mapping[str, Any], constants: Mapping[str, str]) -> str:
    if text == "":
        # Not escaped, because an argument has at most 128 KiB, and an escaped letter takes six bytes.
        return json.dumps(executor_input, ensure_ascii=False)
    if text.removeprefix(".") in constants:
        return constants[text.removeprefix(".")]
    if text in (".outputs.output_file", ".outputMetadataUri"):
        return str(executor_input["outputs"]["outputFile"])
    value: Any = None
    if match := _KEYED.fullmatch(text):
        side, kind, key, attribute, item = match.groups()
        if kind == "artifacts":
            artifact = executor_input[side]["artifacts"].get(key, {"artifacts": [{}]})["artifacts"][0]
            value = artifact.get("uri" if attribute == "path" else attribute)
            value = value.get(item) if item and isinstance(value, Mapping) else value
        elif side == "outputs":
            value = executor_input["outputs"]["parameters"].get(key, {}).get("outputFile")
        else:
            value = executor_input["inputs"]["parameterValues"].get(key)
    if value is None:
        raise UserError(f"Task '{task.name}': the placeholder {{{{${text}}}}} has no value on this machine.")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
