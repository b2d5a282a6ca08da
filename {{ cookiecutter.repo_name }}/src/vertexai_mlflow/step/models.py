"""Models of the MLflow run on their way between steps: a model is code, so a step loads only what an earlier one made.

Whoever may write a run's artifacts could replace a model, and every format can be made to run code when it is loaded.
So the SHA-256 of a model's folder travels beside its address. The step that takes the model downloads it, compares, and
loads what it has compared.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import mlflow
from kedro.io import DatasetError
from mlflow.exceptions import MlflowException

from ..contract import names, places
from ..contract.places import MODEL_SCHEMES, mismatch
from ..tracking import write_tags
from ..tracking.registry import Model

_LOG = logging.getLogger(__name__)


def logged_models(uris: Mapping[str, str], step: str) -> dict[str, Model]:
    """The models that this step has logged, with the hashes of their folders, by dataset.

    Args:
        uris: dataset → the model's address.
        step: name of the step.
    """
    return {name: Model(uri, places.sha256_of_model(_download(uri)), step) for name, uri in uris.items()}


def tag_models(models: Mapping[str, Model]) -> None:
    """Say on MLflow's pages of models which step has logged them, and in the run for the last task, which registers."""
    if run := mlflow.active_run():
        tags = [model.as_tag(dataset) for dataset, model in models.items()]
        write_tags(run.info.run_id, {name: value for tag in tags for name, value in tag.items()})
    for model in models.values():
        try:
            mlflow.MlflowClient().set_logged_model_tags(
                model.uri.rpartition("/")[2], {names.MODEL_STEP_TAG: model.step}
            )
        except MlflowException as error:
            _LOG.warning("The model %s does not say which step has made it: %s", model.uri, error)


def fetch_model(dataset: str, uri: str, sha256: str | None) -> str:
    """Download a model that an earlier step has logged; returns the folder to load it from.

    Args:
        dataset: its dataset, for messages.
        uri: its address in MLflow.
        sha256: the recorded hash of its folder.

    Raises:
        DatasetError: when the address is not one of MLflow's, or the model is not what was logged.
    """
    if not uri.startswith(MODEL_SCHEMES):
        raise DatasetError(f"Dataset '{dataset}': the model's address is none of MLflow's: {uri}")
    folder = _download(uri)
    if (actual := places.sha256_of_model(folder)) != sha256:
        raise DatasetError(mismatch(f"Dataset '{dataset}', the model {uri},", actual, sha256))
    return str(folder)


def _download(uri: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
