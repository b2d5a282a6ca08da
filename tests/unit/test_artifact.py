import gc
import hashlib
import pickle
from pathlib import Path

import fsspec
import pytest
from kedro.io import DatasetError

from vertexai_mlflow.step.artifact import ArtifactDataset


@pytest.mark.parametrize("place", ["{tmp}/deep/er/x", "file://{tmp}/x", "memory://bucket/x"])
def test_an_object_comes_back_from_any_file_system(place, tmp_path):
    dataset = ArtifactDataset(place.format(tmp=tmp_path))
    assert not dataset.exists()
    dataset.save({"square": lambda x: x * x})
    assert dataset.exists()
    assert dataset.load()["square"](3) == 9


def test_a_failed_save_leaves_no_file_and_the_next_save_works(tmp_path):
    dataset = ArtifactDataset(f"{tmp_path}/x")
    with pytest.raises(DatasetError, match="generator"):
        dataset.save([b"x" * 100_000, (number for number in range(3))])
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    dataset.save(1)
    assert dataset.load() == 1


def test_an_overwrite_replaces_the_old_object_only_when_it_is_complete(tmp_path):
    dataset = ArtifactDataset(f"{tmp_path}/x")
    dataset.save("old")
    with pytest.raises(DatasetError):
        dataset.save(number for number in range(3))
    assert dataset.load() == "old"


def test_loading_an_artifact_that_does_not_exist_names_it(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        ArtifactDataset(f"{tmp_path}/nowhere").load()
    assert fsspec.filesystem("file").ls(tmp_path) == []


def test_an_artifact_that_was_downloaded_can_be_read(tmp_path):
    ArtifactDataset("memory://bucket/x").save({"a": 1})
    fsspec.filesystem("memory").get("/bucket/x", str(tmp_path / "x"))
    assert ArtifactDataset(f"{tmp_path}/x").load() == {"a": 1}


def test_a_plain_pickle_that_was_uploaded_can_be_read(tmp_path):
    (tmp_path / "x").write_bytes(pickle.dumps([1, 2]))
    fsspec.filesystem("memory").put(str(tmp_path / "x"), "/bucket/plain")
    assert ArtifactDataset("memory://bucket/plain").load() == [1, 2]


class Attack:
    """What runs a command when it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["{tmp}/x", "memory://bucket/{tmp}/x"])
def test_a_pickle_that_somebody_has_replaced_is_not_read(place, tmp_path):
    """Who may write to the bucket would run code in the next step."""
    uri, hacked = place.format(tmp=tmp_path), tmp_path / "hacked"
    made = ArtifactDataset(uri)
    made.save({"a": 1})
    assert ArtifactDataset(uri, made.file_metadata["sha256"]).load() == {"a": 1}
    # Written in both ways that a file can be written in.
    for attack in (
        lambda: ArtifactDataset(uri).save(Attack(f"touch {hacked}")),
        lambda: put(uri, pickle.dumps(Attack(f"touch {hacked}"))),
    ):
        attack()
        for dataset in (ArtifactDataset(uri, made.file_metadata["sha256"]), ArtifactDataset(uri, ""), made):
            with pytest.raises(
                DatasetError,
                match=r"does not match its recorded SHA-256 \(expected [0-9a-z]+, found [0-9a-f]{64}\)",
            ):
                dataset.load()
        assert not hacked.exists()


def test_a_file_that_changes_while_it_is_read_is_read_as_it_was_hashed(tmp_path, monkeypatch):
    """The bucket's file may be replaced between the look at it and the reading."""
    uri = f"memory://bucket/{tmp_path}/x"
    made = ArtifactDataset(uri)
    made.save("good")
    digest = hashlib.file_digest

    def then_replaced(*arguments):
        sha256 = digest(*arguments)
        put(uri, pickle.dumps(Attack(f"touch {tmp_path}/hacked")))
        return sha256

    monkeypatch.setattr(hashlib, "file_digest", then_replaced)
    assert ArtifactDataset(uri, made.file_metadata["sha256"]).load() == "good"
    assert not Path(f"{tmp_path}/hacked").exists()


@pytest.mark.parametrize("place", ["{tmp}/x", "memory://bucket/{tmp}/x"])
def test_the_hash_is_that_of_the_file(place, tmp_path):
    import numpy as np

    uri = place.format(tmp=tmp_path)
    dataset = ArtifactDataset(uri)
    for data in ("", "x" * 1_000_000, np.zeros(1_000_000), {"a": lambda: 1}):
        dataset.save(data)
        with fsspec.open(uri, "rb") as file:
            assert dataset.file_metadata["sha256"] == hashlib.sha256(file.read()).hexdigest()
        dataset.load()


def put(uri: str, content: bytes) -> None:
    with fsspec.open(uri, "wb") as file:
        file.write(content)
