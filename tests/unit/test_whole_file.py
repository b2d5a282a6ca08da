"""A file appears whole or not at all."""

import pytest

from vertexai_mlflow.infra import facts
from vertexai_mlflow.whole_file import write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "a.yml"
    for text in ("old", "größer"):
        write_whole(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("write", [write_whole, lambda file, text: facts.fill_in(file, {"bucket": text})])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path, write):
    file = tmp_path / "globals.yml"
    file.write_text('bucket: "<bucket>"\n')
    with pytest.raises(UnicodeEncodeError):
        write(file, "half of a pair: \ud800")
    assert file.read_text() == 'bucket: "<bucket>"\n'
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", ["missing/a.yml", "file/a.yml"])
def test_a_place_that_cannot_be_written_is_an_error_of_its_own(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=place.partition("/")[0]):
        write_whole(tmp_path / place, "text")
