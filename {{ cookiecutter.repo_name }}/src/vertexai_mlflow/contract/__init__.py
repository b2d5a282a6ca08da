"""The agreement between launcher and container: what ``compile`` writes into a spec and ``step`` reads from it.

Both sides import this folder, so nothing here is said anywhere else. This module has names of tasks, tags and artifact
keys, how parameters travel, and how much of everything fits; ``arguments`` is what a step is told.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

# The module that every container runs.
STEP_MODULE = "vertexai_mlflow.step"
# The one that runs instead where code was uploaded: it unpacks the code and becomes the step.
UPLOADED_MODULE = "vertexai_mlflow.contract.uploaded"
START_TASK = "mlflow-start-run"
FINISH_TASK = "mlflow-finish-run"
# The only task of the job by which doctor looks around in the image, and the output and the artifact of that task.
DOCTOR_TASK = "doctor"
REPORT = "report"
PROBE = "probe"
# The graph of all tasks but the last one: the name that people see, and its key in the spec, which KFP chooses.
GRAPHS = ("kedro-pipeline", "exit-handler-1")
# Begins the names of importers: tasks that hand uploaded data to the steps and run no container.
IMPORT_PREFIX = "vertexai-import-"

# Inputs and outputs of tasks: the runtime parameters, KFP's final status, the address of the MLflow run, and the values
# that the first task has resolved for all.
PARAMS = "params"
STATUS = "status"
MLFLOW_RUN = "mlflow_run"
RESOLVED = "resolved"
# Begins the keys of artifacts.
DATA_PREFIX = "data_"
# The parameter that the nodes of `on_exit_pipeline` may take.
EXIT_PARAMETER = "vertexai_job"

# Tags of the job's MLflow run; docs/reference/tags.md explains them.
JOB_NAME_TAG = "vertexai_job_name"
JOB_ID_TAG = "vertexai_run_id"
JOB_URL_TAG = "vertexai_job_url"
IMAGE_TAG = "vertexai_image"
LATEST_NODE_TAG = "latest_node"
FAILED_NODE_TAG = "failed_node"
ERROR_TAG = "error"
CODE_TAG = "vertexai_code"
DIRTY_TAG = "vertexai_code_dirty"
RESUMED_TAG = "resumed_from"
RESUMED_RUN_TAG = "resumed_from_run"
REUSED_TAG = "reused."  # and the name of a step; the job that its result comes from
RUNNING_NODE_TAG = "running_node."  # and the task's name; only while the task runs

# Begins the line of a step's log that tells where its time went, as JSON: part → seconds.
TIMING = "step timing: "

# Set by `run-local` where all steps share one disk, so that nothing has to be carried.
SHARED_DISK_VARIABLE = "VERTEXAI_SHARED_DISK"

# Set in the process of a step to the names of its task and its job, for hooks to look at.
STEP_VARIABLE = "VERTEXAI_STEP"
JOB_VARIABLE = "VERTEXAI_JOB"

# Set in the image to the commit that it was built from.
REVISION_VARIABLE = "IMAGE_REVISION"

# Letters in the name of a task or a pipeline: names of folders and of MLflow's tags are made of it.
MAX_NAME = 128
# Letters in the key of an artifact, which is written three times in the executor input.
MAX_KEY = 100

# Sizes in bytes. An artifact's metadata comes back in the executor input of the next task, which is one argument of a
# command, and Linux allows an argument 128 KiB. Metadata is cut at the first limit; a step whose artifacts could exceed
# the second one, or its artifacts and parameters the third, is refused when it is compiled.
MAX_METADATA = 2 * 1024
MAX_ARTIFACTS = 96 * 1024
MAX_EXECUTOR_INPUT = 127 * 1024

_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/")
# An interpolation of OmegaConf, and the backslashes before it, of which two stand for one.
_INTERPOLATION = re.compile(r"(\\*)\$\{")
# Keys of a dictionary that is written in the place of a value which a protobuf Struct would change.
_EXACT = "$json"
_PAIRS = "$pairs"
_DATE = "$date"
_EXACT_INTEGERS = 2**53  # https://protobuf.dev/reference/protobuf/google.protobuf/#value


def task_name(name: str) -> str:
    """A Kedro name as KFP allows it for a task or a pipeline: at most 128 lower case letters, digits and hyphens.

    Where letters of other scripts are lost, a hash of the whole keeps two names apart: ``step-3f2a91c0``.
    """
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    is_whole = text and not any(letter.isalnum() and not letter.isascii() for letter in name)
    return shortened(text) if is_whole else with_hash(text or "step", name)


def with_hash(text: str, name: str) -> str:
    """A name for a task, and a hash of the name that people know it by."""
    return f"{text[: MAX_NAME - 9]}-{_hash(name)}"


def importer_name(key: str) -> str:
    """The task that hands on the artifact with this key, which nothing in the job makes."""
    return IMPORT_PREFIX + task_name(key.removeprefix(DATA_PREFIX))


def shortened(name: str, limit: int = MAX_NAME) -> str:
    """A name that is not too long. Where it is cut, a hash of the whole keeps two names apart."""
    return name if len(name) <= limit else f"{name[: limit - 9]}-{_hash(name)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]


def is_digest(image: str) -> bool:
    """Whether the name of an image says what is in it, as a tag does not."""
    return "@sha256:" in image


def is_local(place: str) -> bool:
    """Whether a path or URI is on the disk of whoever reads it: ``data/x.csv``, ``file:///x``, but not ``gs://…``."""
    return not _REMOTE.match(place)


def leaves(nested: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` → ``a.b``, 1, as ``kedro run --params`` writes it. An empty dictionary is a leaf."""
    if isinstance(nested, Mapping) and nested:
        for key, value in nested.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, nested


def merged(config: Any, values: Any) -> Any:
    """A dictionary with these values in the place of its own, nested."""
    if not isinstance(values, Mapping) or not isinstance(config, Mapping):
        return values
    return {**config, **{key: merged(config.get(key), value) for key, value in values.items()}}


def encode(value: Any) -> Any:
    """Prepare a runtime parameter for its way through a protobuf ``Struct``; ``decode`` undoes it.

    A ``Struct`` knows one kind of number, the double: 1.0 comes back as 1, and an integer beyond 2**53 loses digits.
    KFP takes no null, and keys are texts. Only what would not arrive as it is travels as ``{"$json": "1.0"}`` or,
    a dictionary with other keys, as ``{"$pairs": [[1, "x"]]}``; dates and times, which only resolvers make, as
    ``{"$date": …}``.
    """
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key not in (_EXACT, _PAIRS, _DATE) for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {_PAIRS: [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, date | time):
        return {_DATE: value.isoformat()}
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return value
    if isinstance(value, int):
        exact = abs(value) <= _EXACT_INTEGERS
    else:
        exact = value is not None and math.isfinite(value) and value % 1 != 0
    return value if exact else {_EXACT: json.dumps(value)}


def decode(value: Any) -> Any:
    """Undo ``encode``. A whole number that a ``Struct`` turned into a double becomes an integer again."""
    if isinstance(value, Mapping):
        if set(value) == {_EXACT}:
            return json.loads(value[_EXACT])
        if set(value) == {_PAIRS}:
            return {decode(key): decode(item) for key, item in value[_PAIRS]}
        if set(value) == {_DATE}:
            type_ = datetime if "T" in value[_DATE] else time if ":" in value[_DATE] else date
            return type_.fromisoformat(value[_DATE])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def comes_back(value: Any) -> bool:
    """Whether a value is the same, also in type, after ``encode``, its way through JSON, and ``decode``."""
    try:
        return _is_same(value, decode(json.loads(json.dumps(encode(value), allow_nan=False))))
    except Exception:  # a subclass of a text or a number may raise anything
        return False


def _is_same(value: Any, other: Any) -> bool:
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        items = zip(value.items(), other.items(), strict=False)
        return len(value) == len(other) and all(_is_same(*pair) for item in items for pair in zip(*item, strict=True))
    if isinstance(value, list):
        return len(value) == len(other) and all(map(_is_same, value, other))
    return repr(value) == repr(other)


def literal(value: Any) -> Any:
    """Escape a runtime parameter, so that Kedro's configuration takes its texts as they are.

    OmegaConf would evaluate ``${…}`` in them, and call resolvers such as ``${gcp.access_token:}``. A value that is
    given at run time is data.
    """
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return _INTERPOLATION.sub(r"\1\1\${", value) if isinstance(value, str) else value
