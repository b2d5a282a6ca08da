"""Failures: the tags by which a run names its failed nodes, and what to do when MLflow refuses a request."""

import re
from collections.abc import Iterable, Mapping

from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from ..contract import names
from ..errors import shown
from .steps import step_records

# In Vertex AI's words: "The DAG failed because some tasks failed. The failed tasks are: [train, plot]."
_FAILED_TASKS = re.compile(r"failed tasks are: \[([^\]]*)\]")


def failure_tags(tags: Mapping[str, str], message: str, failed: Iterable[str] = ()) -> dict[str, str]:
    """The tags that say which nodes failed and why.

    Failed are the nodes of the failed tasks, and the node whose step has written its own error. If neither is known,
    they are all nodes that never ended. The error is the step's own, or else the platform's message.

    Args:
        tags: the run's tags when the job has ended.
        message: error message of the job's final status.
        failed: names of the tasks that failed, if they are known; otherwise those that the message names.
    """
    node_of = {record.task: record.node for record in step_records(tags) if record.is_unended}
    if not failed and (match := _FAILED_TASKS.search(message)):
        failed = match[1].split(", ")
    # The platform names a task as people see it, which is its node's name, and may name the graph that it is in.
    nodes_of_failed_tasks = {node_of.get(task, task) for task in failed if task not in names.GRAPHS}
    unended_nodes = set(node_of.values())
    nodes_with_error = {tags.get(names.FAILED_NODE_TAG, "")} & unended_nodes if names.ERROR_TAG in tags else set()
    nodes = nodes_of_failed_tasks | nodes_with_error or unended_nodes
    failure = {names.FAILED_NODE_TAG: ", ".join(sorted(nodes))} if nodes else {}
    if not nodes_with_error:
        failure[names.ERROR_TAG] = error_text(message or "The job failed without a message.")
    return failure


def error_text(text: str) -> str:
    """Make the text of an error fit for a tag, which everybody who may see the run can read."""
    return shown(text)[:MAX_TAG_VAL_LENGTH]


def refusal(message: str, cause: BaseException | None) -> str:
    """What to do when MLflow does not answer. Only the text of an error tells who refused the request, and why.

    Args:
        message: what to say if the error is none of those that are known here.
        cause: the error.
    """
    if "Invalid Host header" in str(cause):
        fix = "MLflow refuses the host name in its address. Start it with: mlflow server --allowed-hosts …"
    elif "Response body: 'Permission denied'" in str(cause):
        fix = (
            "MLflow's own permissions do not allow this. The user that the steps are for MLflow needs EDIT on the "
            "experiment, because a job's steps update one run."
        )
    elif "You are not authenticated" in str(cause):
        fix = (
            "MLflow asks for a user of its own (mlflow server --app-name basic-auth). Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or let the header provider send what the server accepts."
        )
    elif re.search("IAP|code 40[13]", str(cause)):
        fix = (
            "Identity-Aware Proxy refuses the token. The service account needs roles/iap.httpsResourceAccessor on the "
            "IAP resource. If the resource has an OAuth client of its own, client_id must be that client's. If its "
            "client is Google-managed, as by default on Cloud Run, name the provider "
            "MLFlowGoogleIapJwtRequestHeaderProvider in mlflow.yml, because ID tokens are refused then."
        )
    else:
        return message
    return f"{fix} ({message})"
