"""Reading and filling in globals.yml by ``make bootstrap``."""

import yaml

from vertexai_mlflow.infra import facts

TEXT = """\
# Everything about our cloud.
project_id: p-1  # ours
region: 'europe-west1'
bucket: "<gs://bucket>"  # artifacts
client_id:

other: a#b
"""


def test_bootstrap_fills_in_missing_facts_and_changes_nothing_else(tmp_path):
    path = tmp_path / "globals.yml"
    path.write_text(TEXT)
    assert facts.read(path) == {
        "project_id": "p-1", "region": "europe-west1", "bucket": "", "client_id": "", "other": "a#b",
    }  # fmt: skip
    made = {"project_id": "p-2", "bucket": "gs://b", "client_id": "c", "added": "x"}
    assert facts.fill_in(path, made) == ["bucket", "client_id", "added"]
    assert path.read_text() == (
        TEXT.replace('"<gs://bucket>"', '"gs://b"').replace("client_id:\n", 'client_id: "c"\n') + 'added: "x"\n'
    )
    assert facts.read(path) == yaml.safe_load(path.read_text())
    assert [file.name for file in tmp_path.iterdir()] == ["globals.yml"]
