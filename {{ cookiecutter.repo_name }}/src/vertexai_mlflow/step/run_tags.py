"""The job's MLflow run while a step runs: it is the active run, and its tags name the node that runs or has failed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node

from ..contract import names
from ..contract.job import JobIdentity
from ..tracking import active, delete_tags
from ..tracking.failures import error_text


@contextmanager
def attached(
    job: JobIdentity, task: str, nodes: list[str], reused: Mapping[str, str] | None = None
) -> Iterator["NodeTags"]:
    """Make the job's run the active one while the nodes of a step run.

    Args:
        job: the pipeline job.
        task: the step's task name.
        nodes: the step's nodes, in the order they run.
        reused: step that did not run, because its result was reused → the job that the result comes from.

    Raises:
        RuntimeError: when the job has no run.
    """
    with active(job) as run:
        if run.data.tags.get(names.FAILED_NODE_TAG) in nodes:  # this is a retry
            delete_tags(run, names.FAILED_NODE_TAG, names.ERROR_TAG)
        mlflow.set_tags({names.REUSED_TAG + step: job_name for step, job_name in (reused or {}).items()})
        tags = NodeTags(task, nodes[0])
        try:
            yield tags
        except Exception as error:
            message = error_text(f"{type(error).__name__}: {error}")
            mlflow.set_tags({names.FAILED_NODE_TAG: tags.node, names.ERROR_TAG: message})
            raise
        delete_tags(run, names.RUNNING_NODE_TAG + task)


class NodeTags:
    """Kedro hooks that name the running node in the run's tags. A step that is killed leaves its tag behind."""

    def __init__(self, task: str, node: str) -> None:
        self._task = task
        self._tag(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Name the node that is about to run."""
        self._tag(node.name)

    def _tag(self, node: str) -> None:
        self.node = node
        mlflow.set_tags({names.LATEST_NODE_TAG: node, names.RUNNING_NODE_TAG + self._task: node})
