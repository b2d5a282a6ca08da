"""Tests that share what took long to make run in one worker, which pytest and pytest-xdist have to agree on."""

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SHARING = """
import pytest

pytestmark = pytest.mark.xdist_group("sharing")


@pytest.mark.parametrize("number", range(8))
def test_anything(number): ...
"""


def test_a_group_of_tests_has_one_worker(tmp_path):
    (tmp_path / "test_sharing.py").write_text(SHARING)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
    workers = re.findall(r"^\[(gw\d)\] .* PASSED", done.stdout, re.MULTILINE)
    assert (len(workers), len(set(workers))) == (8, 1), done.stdout
