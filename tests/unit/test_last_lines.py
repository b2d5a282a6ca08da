"""What is shown of a failed step's log: the user's own frames and the message, from tracebacks that Python has printed."""

import traceback
from pathlib import Path

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.show.last_lines import last_lines
from vertexai_mlflow.step.runner import StepRunner

LOG = [
    "2026-11-29 10:06:57,597 INFO    kedro.framework.session.session: Kedro project demo",
    "2026-11-29 10:06:58,439 ERROR   kedro.pipeline.node: Node fit failed with error: ",
]
NODES = """\
import json

def helper(text):
    return json.loads(text)

def fit(text):
    return helper(text)

def explain(text):
    try:
        return helper(text)
    except ValueError:
        raise RuntimeError(f"{text} is no model.\\n\\n  It must be JSON.")
"""


@pytest.fixture
def nodes(tmp_path: Path):
    """The functions of a project's nodes, in a file of its own."""
    file = tmp_path / "src/shop/nodes.py"
    file.parent.mkdir(parents=True)
    file.write_text(NODES)
    module: dict = {}
    exec(compile(NODES, str(file), "exec"), module)
    return module


def log_of(function) -> list[str]:
    """The log of a step whose node fails, as Python prints the traceback at its end."""
    catalog = DataCatalog()
    catalog["text"] = "x"
    try:
        StepRunner().run(Pipeline([Node(function, "text", "model", name="fit")]), catalog)
    except Exception as error:
        assert error.__traceback__
        error.__traceback__ = error.__traceback__.tb_next  # without the frame of this test
        return [*LOG, *"".join(traceback.format_exception(error)).splitlines()]
    raise AssertionError("it did not fail")


def test_the_users_own_frames_and_the_message_are_shown_and_no_others(nodes, tmp_path):
    lines = last_lines(log_of(nodes["fit"]), tmp_path)
    assert [line for line in lines if "^" not in line] == [
        '  File "src/shop/nodes.py", line 7, in fit',
        "    return helper(text)",
        '  File "src/shop/nodes.py", line 4, in helper',
        "    return json.loads(text)",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    ]


def test_of_errors_that_have_caused_each_other_the_last_one_is_shown_with_all_its_lines(nodes, tmp_path):
    lines = last_lines(log_of(nodes["explain"]), tmp_path)
    assert [line for line in lines if "^" not in line] == [
        '  File "src/shop/nodes.py", line 13, in explain',
        '    raise RuntimeError(f"{text} is no model.\\n\\n  It must be JSON.")',
        "RuntimeError: x is no model.",
        "",
        "  It must be JSON.",
    ]


def test_what_a_library_has_made_of_an_error_is_shown_below_the_users_frames(nodes, tmp_path):
    wrapped = """\
def load(text):
    try:
        return fit(text)
    except ValueError as error:
        raise KeyError("Failed while loading data.") from error
"""
    exec(compile(wrapped, "/x/lib/python3.11/site-packages/kedro/io/core.py", "exec"), nodes)
    assert [line for line in last_lines(log_of(nodes["load"]), tmp_path) if "^" not in line] == [
        '  File "src/shop/nodes.py", line 7, in fit',
        "    return helper(text)",
        '  File "src/shop/nodes.py", line 4, in helper',
        "    return json.loads(text)",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        "KeyError: 'Failed while loading data.'",
    ]


@pytest.mark.parametrize(
    "log", [[*LOG, *map(str, range(30))], ["Traceback (most recent call last):", '  File "/x/a.py", line 1', "E: x", *LOG, "Killed"]]
)  # fmt: skip
def test_a_log_that_ends_otherwise_shows_its_last_lines(log):
    assert last_lines(log) == log[-15:]


def test_an_error_of_an_earlier_attempt_is_not_shown_for_the_last_one(nodes, tmp_path):
    later = ["Traceback (most recent call last):", '  File "/usr/lib/python3.11/x.py", line 1, in x', "OSError: later"]
    assert last_lines([*log_of(nodes["fit"]), *LOG, *later], tmp_path) == ["OSError: later"]
