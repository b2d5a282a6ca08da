import gc
import pickle

import fsspec
import pytest
from kedro.io import DatasetError
from starter.vertexai.step.artifact import ArtifactDataset


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
