"""The platform's access to Cloud Storage by gcsfs as a container has it: its own settings, and roles/storage.objectUser."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.google_identity import Google
from fakes.storage import Storage, cloud_storage
from running import SOURCE, environment

from vertexai_mlflow.infra.wanted import Cloud, make_lifecycle

ACCESSES = {
    "a step": """
        from vertexai_mlflow.step.artifact import ArtifactDataset
        ArtifactDataset("gs://bucket/root/x").save({"a": 1})
        assert ArtifactDataset("gs://bucket/root/x").load() == {"a": 1}
    """,
    "doctor's step": """
        from vertexai_mlflow.step.doctor import _bucket
        print(_bucket("gs://bucket/root/probe", "pipeline@project"))
    """,
    "what a step says": """
        from vertexai_mlflow.step.io import StepIO
        StepIO({"outputs": {"outputFile": "/gcs/bucket/root/task/executor_output.json"}}).write({})
    """,
    "a launcher with code": """
        from vertexai_mlflow.cloud.upload import upload_code
        from vertexai_mlflow.contract.uploaded import Code
        assert upload_code(Code(b"archive", "gs://bucket/root/code/0.tar.gz", "", False))
    """,
    "a launcher": """
        from pathlib import Path
        from vertexai_mlflow.cloud.upload import LocalData, missing, upload
        Path("raw.csv").write_text("a,b")
        print(upload(LocalData(Path("raw.csv")), "gs://bucket/root", lambda size: None))
        assert missing(["gs://bucket/root/x"]) == ["gs://bucket/root/x"]
    """,
    "uploaded code": """
        from vertexai_mlflow.contract.uploaded import _fetch
        try:
            _fetch("gs://bucket/root/code/0.tar.gz")
        except SystemExit as refusal:
            assert "FileNotFoundError" in str(refusal), refusal
    """,
}


@pytest.fixture
def storage() -> Iterator[Storage]:
    with cloud_storage() as storage:
        yield storage


@pytest.fixture
def python(storage: Storage, google: Google, tmp_path: Path) -> Callable[..., str]:
    """Run code in a process with the platform, and with credentials, without which gcsfs tries no gRPC."""

    def python(code: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, timeout=40,
            env=environment(**google.environment | storage.on_vertex, PYTHONPATH=str(SOURCE), **variables),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python


@pytest.mark.parametrize("who", ACCESSES)
def test_nothing_waits_for_grpc_and_the_bucket_may_be_empty(python, storage, who):
    python(ACCESSES[who])
    assert storage.grpc == 0
    assert storage.requests


def test_who_has_zonal_buckets_switches_gcsfs_support_on(python):
    message = python("import vertexai_mlflow, gcsfs; print(gcsfs.GCSFileSystem.__name__)")
    assert message == "GCSFileSystem\n"
    variables = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "true"}
    message = python("import vertexai_mlflow, gcsfs; print(gcsfs.GCSFileSystem.__name__)", **variables)
    assert message == "ExtendedGcsFileSystem\n"


@pytest.mark.parametrize("who", [who for who in ACCESSES if who != "uploaded code"])
def test_no_folder_is_made_in_a_bucket(python, storage, who):
    """gcsfs' other class looks for the bucket first, which objectUser may not, and takes an empty one for missing."""
    variables = {
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "true",
        "NO_GCE_CHECK": "true",
    }  # without credentials, there is no gRPC
    python(ACCESSES[who], **variables)
    assert ("GET", "/storage/v1/b/bucket") not in storage.requests


def test_uploaded_data_outlives_the_rule_that_deletes_the_artifacts_of_old_runs(python, storage):
    storage.put("bucket/team/my-project/cloud/1234567/my-project-1/train_1/data_model", b"")
    message = python("""
        from pathlib import Path
        from vertexai_mlflow.cloud.upload import LocalData, upload, upload_code
        from vertexai_mlflow.contract.uploaded import Code
        root = "gs://bucket/team/my-project/cloud"
        Path("raw").mkdir()
        Path("raw/a.csv").write_text("a,b")
        print(upload(LocalData(Path("raw")), root, lambda size: None)[0].uri)
        upload_code(Code(b"archive", f"{root}/code/0.tar.gz", "", False))
    """)
    assert len(storage.objects) == 3
    rest = dict.fromkeys(
        [
            "project",
            "number",
            "region",
            "bucket",
            "registry",
            "pipeline",
            "launcher",
            "role",
            "signer",
            "provider",
            "host",
            "mlflow",
            "owner",
        ]
    )
    storage.grow_old(89, make_lifecycle(Cloud(**rest, artifacts="team/my-project/")))
    assert len(storage.objects) == 3
    storage.grow_old(90, make_lifecycle(Cloud(**rest, artifacts="team/my-project/")))
    assert [f"gs://{name}" for name in storage.objects] == [f"{message.strip()}/a.csv"]


MISSING = """
    from vertexai_mlflow.cloud.upload import missing
    from vertexai_mlflow.errors import UserError
    try:
        print(missing(["gs://bucket/a", "gs://bucket/folder", "gs://bucket/gone"]))
    except UserError as error:
        print(error)
"""


def test_what_may_not_be_looked_at_is_not_called_missing(python, storage):
    storage.put("bucket/a", b"")
    storage.put("bucket/folder/b", b"")
    assert python(MISSING) == "['gs://bucket/gone']\n"
    storage.denied |= {"storage.objects.get", "storage.objects.list"}
    assert "Cannot check whether gs://bucket/a exists" in python(MISSING)
