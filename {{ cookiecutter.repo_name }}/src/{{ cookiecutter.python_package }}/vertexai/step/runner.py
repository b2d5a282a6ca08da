"""Kedro's sequential runner as a step needs it: the step's artifacts in the catalog, and its hooks registered."""

from collections.abc import Mapping, Sequence
from typing import Any

from kedro.io import DatasetError
from kedro.runner import SequentialRunner

from .artifact import ArtifactDataset


class StepRunner(SequentialRunner):
    """Runs the nodes of a step.

    Args:
        artifacts: dataset name → where it is kept between steps.
        hooks: objects with Kedro hook methods, for this run only.
    """

    def __init__(self, artifacts: Mapping[str, ArtifactDataset], hooks: Sequence[object] = ()) -> None:
        super().__init__()
        self._artifacts = artifacts
        self._hooks = hooks

    def __str__(self) -> str:  # kedro-mlflow makes this a tag
        return type(self).__name__

    def run(self, pipeline: Any, catalog: Any, hook_manager: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run the pipeline as ``SequentialRunner`` does.

        Raises:
            DatasetError: also when what a node made cannot be written, naming node and dataset.
        """
        makers = {dataset: node.name for node in pipeline.nodes for dataset in node.outputs}
        for name, dataset in self._artifacts.items():
            catalog[name] = dataset
        for hook in self._hooks:
            hook_manager.register(hook)
        try:
            return super().run(pipeline, catalog, hook_manager, **kwargs)
        except DatasetError as error:
            for name, dataset in self._artifacts.items():
                if dataset.refused is not None and name in makers:
                    raise DatasetError(
                        f"Node '{makers[name]}' made dataset '{name}', a {dataset.refused}, which cannot be written as "
                        "an artifact. Let the node return something that can be pickled, or give the dataset a place "
                        f"in the catalog. ({error.__cause__ or error})"
                    ) from error
            raise
