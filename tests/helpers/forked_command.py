"""What a fork of ``forked_kedro`` does first: it becomes a console script whose errors have a stream of their own."""

import json
import os
import runpy
import sys
from pathlib import Path

stderr, *sys.argv = json.loads(sys.argv[1])
descriptor = os.open(stderr, os.O_WRONLY | os.O_APPEND)
os.dup2(descriptor, 2)
os.close(descriptor)
# The fork server has put the working directory and this folder first, and a console script has its own folder there.
sys.path[:2] = [str(Path(sys.argv[0]).resolve().parent)]
del os.environ["PYTHONPATH"]
runpy.run_path(sys.argv[0], run_name="__main__")
