"""KFP's protocol between platform and container: a task → its executor input, its command line, its executor output.

In one JSON message the platform tells a task what it gets and where to leave what it makes. It replaces placeholders
in the command by parts of that message, and reads afterwards what the task has written.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from ..compile.spec import Task, definitions
from ..errors import UserError

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
# What may be the name of a file or folder of a job. KFP's own rules are stricter.
_NAME = re.compile(r"\w[\w.-]*")
_KEYED = re.compile(r"\.(inputs|outputs)\.(parameters|artifacts)\['(.+?)'\](?:\.(\w+))?(?:\['(.+?)'\])?")


def refuse_paths(pipeline: str, tasks: Sequence[Task]) -> None:
    """Refuse a spec whose names lead out of the job's folder.

    Args:
        pipeline: the pipeline's name.
        tasks: its tasks; they and their outputs are files and folders.

    Raises:
        UserError: naming all such names.
    """
    kinds = "parameters", "artifacts"
    outputs = (definitions(task.component, "output", kind) for task in tasks for kind in kinds)
    names = [pipeline, *(task.name for task in tasks), *chain(*outputs)]
    if wrong := [repr(name) for name in names if not _NAME.fullmatch(name)]:
        raise UserError(f"The spec has names that cannot be those of files: {', '.join(wrong)}. Use [A-Za-z0-9_.-].")


def executor_input(
    task: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    """KFP's ExecutorInput, as the platform would hand it to the container.

    Args:
        task: the task.
        parameters: its input parameters' values.
        artifacts: its input artifacts, each a RuntimeArtifact.
        folder: path or URI below which its outputs are kept.
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
    """The container's command and arguments, placeholders replaced, each by one pass: a value is never read again.

    Args:
        task: the task.
        executor_input: see ``executor_input``.
        constants: what the platform says of job and task: ``pipeline_job_name`` → its value.

    Raises:
        UserError: naming a placeholder that is not known.
    """
    return [
        _PLACEHOLDER.sub(lambda match: _placeholder(task, match.group(1), executor_input, constants), argument)
        for argument in [*task.container.get("command", []), *task.container.get("args", [])]
    ]


def executor_output(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a task left behind, by the executor input it was given.

    Returns:
        ``parameters``, from their files and from KFP's ExecutorOutput, and ``artifacts``, with their metadata.
    """
    outputs = given["outputs"]
    written: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        text = Path(outputs["outputFile"]).read_text(encoding="utf-8")
        written = json.loads(text, parse_constant=_refuse_constant)
    parameters = dict(written.get("parameterValues", {}))
    for name, parameter in outputs["parameters"].items():
        with suppress(FileNotFoundError):
            parameters[name] = Path(parameter["outputFile"]).read_text(encoding="utf-8")
    artifacts = {}
    for key, value in outputs["artifacts"].items():
        (artifact,) = value["artifacts"]
        (update,) = written.get("artifacts", {}).get(key, {"artifacts": [{}]})["artifacts"]
        artifacts[key] = {**artifact, **{name: item for name, item in update.items() if item}}
    return {"parameters": parameters, "artifacts": artifacts}


def _refuse_constant(name: str) -> None:
    """JSON has no NaN and no infinity, although Python writes and reads them."""
    raise ValueError(f"{name} is not JSON")


def imported(task: Task, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of an importer: an artifact that exists already, by its URI.

    Args:
        task: the importer.
        parameters: its input parameters' values.
    """
    said = task.importer["artifactUri"]
    uri = parameters[said["runtimeParameter"]] if "runtimeParameter" in said else said["constant"]
    about = {"uri": uri, "metadata": task.importer.get("metadata", {})}
    artifacts = {
        key: {"name": key, "type": definition["artifactType"], **about}
        for key, definition in definitions(task.component, "output", "artifacts").items()
    }
    return {"parameters": {}, "artifacts": artifacts}


def _placeholder(task: Task, text: str, executor_input: Mapping[str, Any], constants: Mapping[str, str]) -> str:
    if text == "":
        # Not escaped: an argument has at most 128 KiB, and an escaped letter takes six bytes.
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
