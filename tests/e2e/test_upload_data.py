"""``upload-data`` in a generated project, and what the other commands make of its record where there is no data."""

import json
import shutil

import pytest
import yaml
from pipeline_runs import vertexai
from running import commit, run
from small_cloud import ACCOUNT, REGISTRY, set_fact

pytestmark = pytest.mark.slow


def test_uploaded_data_is_recorded_for_a_clone_that_has_no_data(bake, tmp_path):
    facts = {"gcp_region": "europe-west1", "artifact_registry": f"{REGISTRY}/project-42/images"}
    project = bake(gcp_project_id="project-42", gcp_bucket="gs://bucket", service_account=ACCOUNT, **facts)
    set_fact(project, "bucket", "memory://bucket")
    done = vertexai(project, "-e", "cloud", "upload-data", "no_such")
    assert (done.returncode, "reads no raw data on local disk through dataset 'no_such'" in done.stderr) == (1, True)
    assert "run_config.root names no bucket" in vertexai(project, "upload-data").stderr
    done = vertexai(project, "-e", "cloud", "upload-data", cold=True)
    assert done.returncode == 0, done.stderr
    record = project / "conf/cloud/vertexai_data.yml"
    ((place, about),) = yaml.safe_load(record.read_text())["data"].items()
    assert place == "data/01_raw/penguins.csv"
    assert about["uri"] == f"memory://bucket/uploaded/test-project/cloud/{about['sha256']}/penguins.csv"
    assert done.stdout.splitlines()[0] == f"{place}: {about['uri']}"
    assert "copied 1 of 1 files" in done.stderr

    commit(project)
    clone = tmp_path / "clone"
    run("git", "clone", "-q", str(project), str(clone), cwd=tmp_path)
    shutil.rmtree(clone / "data")
    done = vertexai(clone, "-e", "cloud", "compile")
    assert done.returncode == 0, done.stderr
    assert f"{place}: uploaded, {about['uri']}" in done.stdout
    spec = json.loads((clone / "pipeline.json").read_text())
    importers = [one["importer"] for one in spec["deploymentSpec"]["executors"].values() if "importer" in one]
    assert [importer["metadata"]["sha256"] for importer in importers] == [about["sha256"]]
    done = vertexai(clone, "-e", "cloud", "doctor", "--offline", "--format", "json")
    (data,) = [check for check in json.loads(done.stdout) if check["name"] == "data"]
    assert (data["ok"], data["doubtful"], data["message"]) == (True, False, f"{place}: uploaded, {about['uri']}")
    # No data and no record: doctor refuses, and compile warns.
    (clone / "conf/cloud/vertexai_data.yml").unlink()
    done = vertexai(clone, "-e", "cloud", "compile")
    assert done.returncode == 0
    assert f"Warning: Not in this folder, so not in the image either: {place}." in done.stderr

    # On the shared disk of this machine the importer is executed and nothing is fetched.
    assert vertexai(project, "compile").returncode == 0
    (project / "conf/cloud/mlflow.yml").unlink()
    done = vertexai(project, "-e", "cloud", "run-local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vertexai-import" not in done.stdout
