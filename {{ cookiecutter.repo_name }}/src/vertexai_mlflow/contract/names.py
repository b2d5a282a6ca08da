"""Names that launcher and container agree on: of tasks, inputs and outputs, of MLflow's tags, of variables."""

import hashlib
import re
from collections.abc import Iterable

from .limits import MAX_KEY, MAX_NAME

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

# Begins the names of tasks that run no nodes: they write one index of artifacts that a step could not take one by one.
GATHER_PREFIX = "vertexai-gather-"

# Inputs and outputs of tasks: the runtime parameters, KFP's final status, the address of the MLflow run, and the values
# that the first task has resolved for all.
PARAMS = "params"
STATUS = "status"
MLFLOW_RUN = "mlflow_run"
RESOLVED = "resolved"

# Begins the keys of artifacts.
DATA_PREFIX = "data_"

# An artifact that stands for others is a folder with this file in it: key → URI and metadata of each. Its own metadata
# has the SHA-256 of the file, and says how many there are.
INDEX_TYPE = "system.Artifact"
INDEX_FILE = "index.json"
MEMBERS = "members"
# Marks those in an index that were known when the job was compiled.
KNOWN = "known"

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
MODEL_STEP_TAG = "vertexai_step"  # of a model
PIPELINE_TAG = "vertexai_pipeline"
ENV_TAG = "vertexai_env"
SCHEDULE_TAG = "vertexai_schedule"
REGISTRY_TAG = "registered_model"

# Aliases of versions in MLflow's registry, and tags of versions, besides those of the run that they share with it.
CANDIDATE = "candidate"
CHAMPION = "champion"
MODEL_URI_TAG = "vertexai_model"
MODEL_SHA256_TAG = "sha256"
GATE_TAG = "gate"  # passed or missed
REASON_TAG = "gate_reason"
METRIC_TAG = "gate_metric"
VALUE_TAG = "gate_value"
AGAINST_TAG = "gate_champion"  # the version that was the champion then, or none
CROWNED_TAG = "gate_crowned"  # there if the gate has made it the champion, once
REPLACED_TAG = "promoted_over"  # the version that was the champion before, or none
PROMOTED_BY_TAG = "promoted_by"
PROMOTED_FROM_TAG = "promoted_from"
PROMOTED_RUN_TAG = "promoted_from_run"
PROMOTED_USER_TAG = "promoted_from_user"

# Tags that only this package reads. MLflow's pages show none that begins like this: how far a step has come, as JSON,
# by the task's name; the command that `kedro_command` is to have, which kedro-mlflow replaces in each step; and the
# parameters that no page shows, as JSON; the model that a dataset has become, as JSON.
STEP_TAG = "mlflow.vertexai.step."
COMMAND_TAG = "mlflow.vertexai.command"
HIDDEN_TAG = "mlflow.vertexai.hidden"
MODEL_TAG = "mlflow.vertexai.model."

# The folder in the artifacts of the MLflow run with what is about the job, and the files in it.
RUN_FOLDER = "vertexai"
SPEC_FILE = f"{RUN_FOLDER}/pipeline.json"
PARAMETERS_FILE = f"{RUN_FOLDER}/parameters.yml"
PAGE_FILE = f"{RUN_FOLDER}/job.html"

# What the last task of a local job writes beside its executor output: what the run has for the page of the job.
CONTENTS_FILE = "run.json"

# Begins the line of a step's log that tells where its time went, as JSON: part → seconds.
TIMING = "step timing: "

# Set by `run-local` where all steps share one disk, so that nothing has to be carried.
SHARED_DISK_VARIABLE = "VERTEXAI_SHARED_DISK"

# Set in the process of a step to the names of its task and its job, for hooks to look at.
STEP_VARIABLE = "VERTEXAI_STEP"
JOB_VARIABLE = "VERTEXAI_JOB"

# Set in the process of a step on Vertex AI to the project of its job, where its secrets are.
PROJECT_VARIABLE = "VERTEXAI_PROJECT"

# Set in the image to the commit that it was built from.
REVISION_VARIABLE = "IMAGE_REVISION"


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


def is_step(task: str) -> bool:
    """Whether a task of a compiled pipeline runs nodes."""
    return task not in (START_TASK, FINISH_TASK) and not task.startswith((IMPORT_PREFIX, GATHER_PREFIX))


def made_index(step: str) -> str:
    """The key of the one artifact that stands for all that a step makes."""
    return shortened(f"vertexai_made_by_{step.replace('-', '_')}", MAX_KEY)


def gathering_names(members: Iterable[str]) -> tuple[str, str]:
    """A gathering task and the key of its index. The same members have the same names in every job."""
    digest = hashlib.sha256("\n".join(members).encode()).hexdigest()[:16]
    return f"{GATHER_PREFIX}{digest}", f"vertexai_gathered_{digest}"


def model_tag(dataset: str) -> str:
    """The tag of a run about the model that a dataset has become."""
    return MODEL_TAG + with_hash(task_name(dataset), dataset)


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
