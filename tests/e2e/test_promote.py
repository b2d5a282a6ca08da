"""The command promote between two environments, each with a real MLflow server of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow_server import mlflow_server
from pipeline_runs import vertexai
from running import BIN, environment

pytestmark = pytest.mark.slow

MLFLOW = "server:\n  mlflow_tracking_uri: {url}\ntracking:\n  experiment:\n    name: demo\n"


@pytest.fixture
def servers(tmp_path_factory) -> Iterator[dict[str, str]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("staging", "prod")}
    with (
        mlflow_server(BIN / "mlflow", folders["staging"], environment()) as staging,
        mlflow_server(BIN / "mlflow", folders["prod"], environment()) as prod,
    ):
        yield {"staging": staging, "prod": prod}


def aliases(url: str) -> dict[str, str]:
    (model,) = MlflowClient(url).search_registered_models()
    return {name: str(version) for name, version in model.aliases.items()}


def test_a_version_goes_from_one_server_to_another_and_back(bake, servers):
    project: Path = bake()
    registry = "run_config:\n  registry: {model: model, name: penguins}\n"
    for env, url in servers.items():
        folder = project / "conf" / env
        folder.mkdir()
        (folder / "mlflow.yml").write_text(MLFLOW.format(url=url))
        (folder / "vertexai.yml").write_text(registry)
    done = vertexai(project, "-e", "staging", "run-local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert aliases(servers["staging"]) == {"candidate": "1"}

    def promote(*arguments: str, code: int = 0) -> str:
        done = vertexai(project, "promote", *arguments, cold=True, GITHUB_ACTOR="grace")
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    between = ("--from-env", "staging", "--to-env", "prod")
    assert "penguins has no version with the alias champion. Its versions: 1." in promote(*between, code=1)
    printed = promote(*between, "--version", "1", "--dry-run")
    assert "penguins version (new) of prod would become the champion; there was none." in printed
    assert MlflowClient(servers["prod"]).search_registered_models() == []

    printed = promote(*between, "--version", "1")
    (version,) = MlflowClient(servers["staging"]).search_model_versions("name = 'penguins'")
    assert f"From MLflow run {version.run_id}, job test-project-" in printed
    assert "penguins version 1 of prod is the champion now; there was none." in printed
    (arrived,) = MlflowClient(servers["prod"]).search_model_versions("name = 'penguins'")
    assert (arrived.tags["promoted_by"], arrived.tags["sha256"]) == ("grace", version.tags["sha256"])
    assert aliases(servers["prod"]) == {"champion": "1"}
    assert "is the champion already" in promote(*between, "--version", "1")

    # What was promoted can be loaded, and predicts.
    mlflow.set_tracking_uri(servers["prod"])
    try:
        loaded = mlflow.artifacts.download_artifacts("models:/penguins@champion")
        assert (Path(loaded) / "MLmodel").exists()
        shutil.rmtree(loaded)
    finally:
        mlflow.set_tracking_uri(None)
    assert "penguins is without a champion again; it was version 1." in promote("--to-env", "prod", "--undo")
    assert aliases(servers["prod"]) == {}
    assert "nothing to undo" in promote("--to-env", "prod", "--undo", code=1)
    assert "penguins version 1 of staging is the champion now" in promote("--from-env", "staging", "--version", "1")
