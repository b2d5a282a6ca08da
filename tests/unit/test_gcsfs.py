"""The platform's access to Cloud Storage by gcsfs as a container has it: its own settings, and roles/storage.objectUser."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.google_identity import Google, google_identity
from fakes.storage import Storage, cloud_storage
from running import SOURCE, environment

from vertexai_mlflow.infra.wanted import Cloud, make_lifecycle

pytestmark = pytest.mark.slow  # servers, and processes that import gcsfs anew

ACCESSES = {
    "a step": """
        from vertexai_mlflow.step.artifact import ArtifactDataset
        ArtifactDataset("gs://bucket/root/x").save({"a": 1})
        assert ArtifactDataset("gs://bucket/root/x").load() == {"a": 1}
    """,
    "doctor's step": """
        from vertexai_mlflow.step.doctor import write_to_bucket
        print(write_to_bucket("gs://bucket/root/probe", "pipeline@project"))
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
        from vertexai_mlflow.contract.uploaded import download_archive
        try:
            download_archive("gs://bucket/root/code/0.tar.gz")
        except SystemExit as refusal:
            assert "FileNotFoundError" in str(refusal), refusal
    """,
}


# Each has a bucket of its own.
BUCKETS = {who: f"bucket-{number}" for number, who in enumerate(ACCESSES)}
RUN_ALL = """
import json, sys, traceback
failures = {}
for who, code in json.loads(sys.argv[1]).items():
    try:
        exec(code, {})
    except BaseException:
        failures[who] = traceback.format_exc()
print(json.dumps(failures))
"""


@pytest.fixture
def storage() -> Iterator[Storage]:
    with cloud_storage() as storage:
        yield storage


def run_python(*argv: str, cwd: Path, google: Google, storage: Storage, **variables: str) -> str:
    """Run code in a process with the platform, and with credentials, without which gcsfs tries no gRPC."""
    done = subprocess.run(
        [sys.executable, "-c", *argv], cwd=cwd, capture_output=True, text=True, timeout=100,
        env=environment(**google.environment | storage.on_vertex, PYTHONPATH=str(SOURCE), **variables),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def python(storage: Storage, google: Google, tmp_path: Path) -> Callable[..., str]:
    """Run code in such a process."""
    return lambda code: run_python(textwrap.dedent(code), cwd=tmp_path, google=google, storage=storage)


def run_accesses(tmp_path_factory: pytest.TempPathFactory, **variables: str) -> tuple[dict[str, str], Storage]:
    """All accesses in one process, which has imported gcsfs once. Who has failed, and why; and what the storage was asked."""
    folder = tmp_path_factory.mktemp("accesses")
    codes = {who: textwrap.dedent(ACCESSES[who]).replace("bucket/", f"{BUCKETS[who]}/") for who in ACCESSES}
    with google_identity(folder) as google, cloud_storage(*BUCKETS.values()) as storage:
        google.environment["CLOUDSDK_CONFIG"] = str(folder / "gcloud")
        printed = run_python(RUN_ALL, json.dumps(codes), cwd=folder, google=google, storage=storage, **variables)
    return json.loads(printed.splitlines()[-1]), storage


@pytest.fixture(scope="module")
def as_usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Storage]:
    return run_accesses(tmp_path_factory)


@pytest.fixture(scope="module")
def with_zonal_buckets(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Storage]:
    """Without credentials, there is no gRPC."""
    return run_accesses(tmp_path_factory, GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="true", NO_GCE_CHECK="true")


def requests_for(who: str, storage: Storage) -> list[tuple[str, str]]:
    """What the storage was asked about the bucket of one of them."""
    return [(method, path) for method, path in storage.requests if BUCKETS[who] in path.split("/")]


@pytest.mark.parametrize("who", ACCESSES)
def test_nothing_waits_for_grpc_and_the_bucket_may_be_empty(as_usual, who):
    failures, storage = as_usual
    assert who not in failures, failures[who]
    assert storage.grpc == 0
    assert requests_for(who, storage)


@pytest.mark.parametrize(("switch", "name"), [("", "GCSFileSystem"), ("true", "ExtendedGcsFileSystem")])
def test_who_has_zonal_buckets_switches_gcsfs_support_on(switch, name, storage, google, tmp_path):
    variables = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": switch} if switch else {}
    code = "import vertexai_mlflow, gcsfs; print(gcsfs.GCSFileSystem.__name__)"
    assert run_python(code, cwd=tmp_path, google=google, storage=storage, **variables) == f"{name}\n"


@pytest.mark.parametrize("who", [who for who in ACCESSES if who != "uploaded code"])
def test_no_folder_is_made_in_a_bucket(with_zonal_buckets, who):
    """gcsfs' other class looks for the bucket first, which objectUser may not, and takes an empty one for missing."""
    failures, storage = with_zonal_buckets
    assert who not in failures, failures[who]
    assert ("GET", f"/storage/v1/b/{BUCKETS[who]}") not in storage.requests


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
