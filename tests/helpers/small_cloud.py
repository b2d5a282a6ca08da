"""Facts of the small Google on loopback that tests have, and making a project one that is about it."""

from pathlib import Path

import yaml
from fakes.iap import Iap
from running import commit

CLIENT_ID = "1234567890-abc123.apps.googleusercontent.com"
LAUNCHER = "launcher@project-42.iam.gserviceaccount.com"
ACCOUNT = "pipeline@project-42.iam.gserviceaccount.com"
REGISTRY = "europe-west1-docker.pkg.dev"


def answers(iap: Iap, **others: str) -> dict[str, str]:
    """The generation's answers for this cloud."""
    return {
        "mlflow_tracking_uri": iap.url,
        "client_id": CLIENT_ID,
        "service_account": ACCOUNT,
        "gcp_project_id": "project-42",
        "gcp_region": "europe-west1",
        "gcp_bucket": "gs://bucket",
        "artifact_registry": f"{REGISTRY}/project-42/images",
        **others,
    }


def name_experiment(project: Path, name: str) -> None:
    """An MLflow experiment of the test's own, on the server that the tests share."""
    config = project / "conf/base/mlflow.yml"
    config.write_text(config.read_text().replace("name: test_project", f"name: {name}"))


def sign_jwts(project: Path, lifetime: int = 3600) -> None:
    """Let MLflow's proxy have a Google-managed OAuth client, so that there is no client id, and the provider for it."""
    config, facts = project / "conf/cloud/mlflow.yml", project / "conf/cloud/globals.yml"
    facts.write_text("".join(line for line in facts.read_text().splitlines(True) if not line.startswith("client_id")))
    text = config.read_text().replace("MLFlowGoogleIAMRequestHeaderProvider", "MLFlowGoogleIapJwtRequestHeaderProvider")
    config.write_text(text.replace("client_id: ${globals:client_id}", f"lifetime: '{lifetime}'", 1))


def set_fact(project: Path, name: str, value: str) -> None:
    """Fill in one of the cloud's facts, and commit."""
    path = project / "conf/cloud/globals.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {name: value}))
    commit(project)


def configure(project: Path, run_config: str = "", **keys: str) -> None:
    """Add keys to the cloud's vertexai.yml: lines below ``run_config``, and keys beside it."""
    path = project / "conf/cloud/vertexai.yml"
    lines = "".join(f"  {line}\n" for line in run_config.splitlines())
    path.write_text(f"{path.read_text()}\n{lines}" + "".join(f"{key}: {value}\n" for key, value in keys.items()))
