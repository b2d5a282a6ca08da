"""Models of the MLflow run on their way between steps: a model is code, so a step loads only what an earlier one made.

Whoever may write a run's artifacts could replace a model, and every format can be made to run code when it is loaded.
So the SHA-256 of a model's folder travels beside its address. The step that takes the model downloads it, compares, and
loads what it has compared.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import mlflow
from kedro.io import DatasetError
from mlflow.exceptions import MlflowException

from ..contract import names
from ..contract.places import MODEL_SCHEMES, mismatch, sha256_of

_LOG = logging.getLogger(__name__)


def sha256_of_model(uri: str) -> str:
    """The hash of the folder of a model that this step has logged."""
    return sha256_of(_download(uri))


def tag_models(uris: Iterable[str], step: str) -> None:
    """Say on MLflow's pages of models which step has logged them. The run they know by themselves."""
    for uri in uris:
        try:
            mlflow.MlflowClient().set_logged_model_tags(uri.rpartition("/")[2], {names.MODEL_STEP_TAG: step})
        except MlflowException as error:
            _LOG.warning("The model %s does not say which step has made it: %s", uri, error)


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
    if (actual := sha256_of(folder)) != sha256:
        raise DatasetError(mismatch(f"Dataset '{dataset}', the model {uri},", actual, sha256))
    return str(folder)


def _download(uri: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
