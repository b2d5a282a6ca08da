"""The scripts of this repository that no other test starts can be started."""

import subprocess
import sys

import pytest
from running import ROOT

LOAD = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition('/')[0])
runpy.run_path(sys.argv[1], run_name='loaded')
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", ["docs/pictures.py", "docs/generated.py", "benchmarks/run.py"])
def test_a_script_finds_all_that_it_imports(script):
    done = subprocess.run([sys.executable, "-c", LOAD, script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
