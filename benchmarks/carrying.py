"""What carrying a dataset's files between steps costs, against the copies that have to be made anyway."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import ROOT, Row, ratio

# In a process of its own, because gcsfs reads the emulator's address when it is imported.
_SCRIPT = """
import os, shutil, statistics, sys, time
from pathlib import Path

import gcsfs
from vertexai_mlflow.contract.arguments import StepArguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.step.carry import Carrier
from vertexai_mlflow.step.io import StepIO

files, size, times = map(int, sys.argv[1:])
place = Path("data/parts" if files > 1 else "data/big")
for number in range(files):
    file = place / f"{number}.bin" if files > 1 else place
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(os.urandom(min(size, 1 << 20)) * (size // min(size, 1 << 20)))
kind = {"type": "pickle.PickleDataset", "filepath": str(place)}
args, catalog = StepArguments("step", "p", files={"x": "key"}), Catalog({"x": kind}, "catalog.yml")
fs = gcsfs.GCSFileSystem()


def carried(attempt):
    outputs = {"key": {"artifacts": [{"uri": f"gs://bucket/carried{attempt}"}]}}
    update = Carrier(args, catalog, StepIO({"outputs": {"artifacts": outputs}})).put()["key"]
    inputs = {"key": {"artifacts": [update]}}
    Carrier(args, catalog, StepIO({"inputs": {"artifacts": inputs}})).fetch()


def copied(attempt):
    target = f"bucket/copied{attempt}/{place.name}"
    fs.put(str(place), target, recursive=files > 1)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    fs.get(target, str(place), recursive=files > 1)


def seconds(work, attempt):
    fs.invalidate_cache()
    started = time.monotonic()
    work(attempt)
    return time.monotonic() - started


both = [(seconds(carried, number), seconds(copied, number)) for number in range(times)]
print(*(statistics.median(column) for column in zip(*both, strict=True)))
"""


def measure_carrying() -> list[Row]:
    """One large file, and many small ones, up to a stand-in for Cloud Storage and down again."""
    return [_measure("1 GB", 1, 1 << 30, 3), _measure("10,000 partitions of 1 kB", 10_000, 1 << 10, 1)]


def _measure(what: str, files: int, size: int, times: int) -> Row:
    from fakes.storage import cloud_storage

    with cloud_storage() as storage, tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, **storage.environment, "PYTHONPATH": str(ROOT / "{{ cookiecutter.repo_name }}/src")}
        argv = [sys.executable, "-c", _SCRIPT, str(files), str(size), str(times)]
        done = subprocess.run(argv, cwd=Path(folder), env=variables, capture_output=True, text=True, check=True)
        carried, copied = map(float, done.stdout.split())
    return (
        f"{what} carried from one step to the next", f"{carried:.1f} s",
        f"gcsfs's own copy up and down: {copied:.1f} s", ratio(carried, copied),
    )  # fmt: skip
