import gc

import fsspec
import pytest
from kedro.io import DatasetError
from starter.vertexai.artifact import ArtifactDataset


@pytest.mark.parametrize("place", ["{tmp}/deep/er/x", "file://{tmp}/x", "memory://bucket/x"])
def test_an_object_comes_back_from_any_file_system(place, tmp_path):
    dataset = ArtifactDataset(place.format(tmp=tmp_path))
    assert not dataset.exists()
    dataset.save({"square": lambda x: x * x})
    assert dataset.exists()
    assert dataset.load()["square"](3) == 9


def test_a_failed_save_leaves_nothing_and_the_next_one_is_whole(tmp_path):
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


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        ArtifactDataset(f"{tmp_path}/nowhere").load()
    assert fsspec.filesystem("file").ls(tmp_path) == []
