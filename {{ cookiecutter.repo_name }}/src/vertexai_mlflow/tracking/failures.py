"""What the steps and the platform say about a failure → the tags of the run; what MLflow says → what to do."""

import re
from collections.abc import Iterable, Mapping

from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from .. import contract
from ..errors import shown

# In Vertex AI's words: "The DAG failed because some tasks failed. The failed tasks are: [train, plot]."
_FAILED_TASKS = re.compile(r"failed tasks are: \[([^\]]*)\]")


def failure_tags(tags: Mapping[str, str], message: str, failed: Iterable[str] = ()) -> dict[str, str]:
    """Which nodes failed and why, by what the steps have said about themselves and the platform about its tasks.

    Args:
        tags: the run's tags when the job has ended.
        message: error message of the job's final status.
        failed: names of the tasks that failed, if they are known; else those that the message names.
    """
    prefix = contract.RUNNING_NODE_TAG
    running = {name.removeprefix(prefix): tags[name] for name in tags if name.startswith(prefix)}
    if not failed and (match := _FAILED_TASKS.search(message)):
        failed = match[1].split(", ")
    # The platform names a task as people see it, which is its node's name, and may name the graph that it is in.
    nodes = {running.get(task, task) for task in failed if task not in contract.GRAPHS}
    own = tags.get(contract.FAILED_NODE_TAG, "")
    # A step that raised an exception has left it there, and still counts as running unless a retry has succeeded.
    has_said_why = contract.ERROR_TAG in tags and own in running.values()
    nodes |= {own} if has_said_why else set()
    nodes = nodes or set(running.values())
    found = {contract.FAILED_NODE_TAG: ", ".join(sorted(nodes))} if nodes else {}
    if not has_said_why:
        found[contract.ERROR_TAG] = error_text(message or "The job failed without a message.")
    return found


def error_text(text: str) -> str:
    """An error as a tag may have it: whoever may look at the run sees it."""
    return shown(text)[:MAX_TAG_VAL_LENGTH]


def refusal(said: str, cause: BaseException | None) -> str:
    """What to do when MLflow does not answer. Only the text of an error tells who has refused, and why.

    Args:
        said: what there is to say about it.
        cause: the error.
    """
    if "Invalid Host header" in str(cause):
        cure = "MLflow refuses the host name in its address. Start it with: mlflow server --allowed-hosts …"
    elif re.search("IAP|code 40[13]", str(cause)):
        cure = (
            "Identity-Aware Proxy refuses the token: client_id must be that of the IAP resource, and the service "
            "account needs roles/iap.httpsResourceAccessor on it."
        )
    else:
        return said
    return f"{cure} ({said})"
