"""Lines of doctor's checklist that must not call something wrong because it is unknown."""

import pytest

from vertexai_mlflow.contract.check import check
from vertexai_mlflow.step.doctor import seconds_since_creation
from vertexai_mlflow.step.runner import job_version


@pytest.mark.parametrize(
    "created",
    [
        "2026-01-09T12:34:56Z",  # as KFP's own backend has it
        "2026-01-09T12:34:56.123456789Z",
        "2026-01-09T12:34:56+00:00",
        "2026-01-09T12:34:56",
        "2026-01-09 12:34:56 UTC",
        "2026-01-09 12:34:56.123 +0000 UTC",
    ],
)
def test_the_time_of_a_job_is_read_in_each_likely_format(created):
    line = check("started", lambda: seconds_since_creation(created))
    assert (line.ok, line.doubtful) == (True, False)
    assert line.message.endswith(" s after the job was created")
    assert job_version(created, "7") == "2026-01-09T12.34.56.000Z-7"


@pytest.mark.parametrize("created", ["1767962096", "Fri Jan 9 2026", "2026-13-09T12:34:56Z", ""])
def test_a_time_in_an_unknown_format_is_a_doubt_and_stops_no_step(created):
    line = check("started", lambda: seconds_since_creation(created))
    assert (line.ok, line.doubtful) == (True, True)
    assert repr(created) in line.message
    assert job_version(created, "7").endswith("-7")
    assert "/" not in job_version(created.replace("-", "/"), "7")
