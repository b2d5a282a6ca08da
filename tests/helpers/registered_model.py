"""Versions of registered models, as a job's last task makes them."""

from contextlib import suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from vertexai_mlflow.contract import names
from vertexai_mlflow.contract.places import sha256_of_model


def register_model(name: str, text: str, folder: Path, experiment: str = "demo") -> str:
    """Register a version as a job does, with the MLflow server of this process; returns its number.

    Args:
        name: name of the registered model.
        text: what is in the model, which tells versions apart.
        folder: where the model's files are made.
        experiment: name of the MLflow experiment, which is the active one.
    """
    source = folder / text
    source.mkdir(parents=True, exist_ok=True)
    (source / "MLmodel").write_text("flavors: {}\n")
    (source / "model.bin").write_text(text)
    client = MlflowClient()
    run = client.create_run(mlflow.get_experiment_by_name(experiment).experiment_id, tags={"mlflow.user": "ada"})
    model = mlflow.initialize_logged_model("forest")
    client.log_model_artifacts(model.model_id, str(source))
    client.finalize_logged_model(model.model_id, "READY")
    with suppress(mlflow.MlflowException):  # the second version of a model
        client.create_registered_model(name)
    tags = {
        names.MODEL_SHA256_TAG: sha256_of_model(source), names.JOB_NAME_TAG: "demo-1", names.GATE_TAG: "passed",
        names.AGAINST_TAG: "1", names.METRIC_TAG: "f1", names.VALUE_TAG: "0.9",
    }  # fmt: skip
    version = client.create_model_version(
        name, f"models:/{model.model_id}", run.info.run_id, tags=tags, model_id=model.model_id
    )
    return str(version.version)
