"""A frame between two steps: written, and read back."""

import bz2
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import cloudpickle
import fsspec
import numpy as np
import pandas as pd
from fsspec.implementations.local import LocalFileSystem
from timing import Row, median, ratio

from vertexai_mlflow.step.artifact import ArtifactDataset

_ROWS, _COLUMNS = 1_062_500, 10  # of 8 bytes: 85 MB
_RATE = 100e6  # bytes a second


class Throttled(LocalFileSystem):
    """A local disk as fast as a store behind a network: 100 MB/s each way."""

    protocol = "throttled"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("throttled://"))

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """Open a file that takes its time."""
        return _Slow(super().open(path, mode, **kwargs))


class _Slow:
    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "_Slow":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        """Write at the rate."""
        time.sleep(memoryview(data).nbytes / _RATE)
        return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        time.sleep(len(data) / _RATE)
        return data

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        time.sleep(count / _RATE)
        return count

    def readline(self) -> bytes:
        return self._file.readline()


def measure_artifacts() -> list[Row]:
    """This starter's artifact against the format of kedro-vertexai's ``KedroVertexAIRunnerDataset``."""
    fsspec.register_implementation("throttled", Throttled, clobber=True)
    numbers = np.random.default_rng(7).normal(0, 100, (_ROWS, _COLUMNS)).round(1)
    frame = pd.DataFrame(numbers, columns=[f"c{number}" for number in range(_COLUMNS)])
    raw = np.random.default_rng(7).bytes(frame.memory_usage().sum())
    rows: list[Row] = []
    for place, protocol in (("local disk", "file"), ("a store of 100 MB/s", "throttled")):
        with tempfile.TemporaryDirectory() as folder:
            # A new file each time, as each step writes one.
            uris = (f"{protocol}://{folder}/{number}" for number in count())
            mine = median(lambda uris=uris: _through_artifact(next(uris), frame), 3)
            peer = median(lambda uris=uris: _through_bz2(next(uris), frame), 1)
            stored = [(Path(folder) / name).stat().st_size / 1e6 for name in ("0", "3")]
            floor = median(lambda uris=uris: _raw(next(uris), raw), 3)
        what, took = f"85 MB frame saved and loaded, {place}", f"{mine:.2f} s ({stored[0]:.0f} MB)"
        against = f"kedro-vertexai's format: {peer:.1f} s ({stored[1]:.0f} MB)"
        rows.append((what, took, against, ratio(mine, peer)))
        rows.append((what, took, f"its bytes, written and read: {floor:.2f} s", ratio(mine, floor)))
    return rows


def _through_artifact(uri: str, frame: pd.DataFrame) -> None:
    ArtifactDataset(uri).save(frame)
    ArtifactDataset(uri).load()


def _through_bz2(uri: str, frame: pd.DataFrame) -> None:
    with fsspec.open(uri, "wb") as file, bz2.open(file, "wb") as stream:
        cloudpickle.dump(frame, stream, protocol=None)
    with fsspec.open(uri, "rb") as file, bz2.open(file, "rb") as stream:
        cloudpickle.load(stream)


def _raw(uri: str, data: bytes) -> None:
    with fsspec.open(uri, "wb") as file:
        file.write(data)
    with fsspec.open(uri, "rb") as file:
        file.read()
