import json
import math
import warnings
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy
import pandas
import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kedro.config import OmegaConfigLoader

from vertexai_mlflow.compile.refusals import check_known
from vertexai_mlflow.contract.params import decode, encode, literal
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.step.runner import resolve


def through_a_struct(params: dict) -> dict:
    """Send parameters through a protobuf ``Struct``, as the platform does. It turns numbers into doubles."""
    struct = json_format.Parse(json.dumps(encode(params)), struct_pb2.Struct())
    return decode(json.loads(json_format.MessageToJson(struct)))


@pytest.mark.parametrize(
    "value",
    [0, 1, -7, 2**53, 2**53 + 1, -(2**70), 1.0, -0.0, 0.1, 1e300, math.inf, True, False, None, "", "1", "a'b\"c$(d)`e`\n{{$}}ü",
     [], {}, [1, 1.0, [True]], {"a": {"b": [{"c": 2.0}]}}, [None], {"a": {"b": None}}, {1: "x", None: [2.0]}, {True: {"a": 1}},
     {"$json": "1"}, {"$pairs": []}, {"$json": {"$json": None}}],
)  # fmt: skip
def test_a_runtime_parameter_reaches_the_step_with_its_type(value):
    arrived = through_a_struct({"x": value})["x"]
    assert repr(arrived) == repr(value)


DECLARED = {"forest": {"n_estimators": 100}, "alpha": 1, "unused": 2, "open": {}}
CONSUMED = {"forest", "alpha", "open"}


TEXTS = st.text(max_size=3) | st.sampled_from(["${", "}", "\\", "${secret:}", "\\${x}", "${oc.env:HOME}", "$"])


@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(TEXTS, max_size=6))
def test_nothing_in_a_runtime_parameter_is_ever_evaluated(tmp_path_factory, pieces):
    """Wherever Kedro's configuration takes a runtime parameter, it takes the text as it was given."""
    text = "".join(pieces)
    assume(text != "???")  # OmegaConf's mark of a missing value, in kedro run as well
    conf = tmp_path_factory.getbasetemp() / "conf/base"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "parameters.yml").write_text("asked: ${runtime_params:text, none}\ncopy: ${text}\ntext: none\n")
    (conf / "catalog.yml").write_text("a: {filepath: 'data/${runtime_params:text, none}.csv'}\n")

    def secret() -> str:
        pytest.fail("a resolver was called")

    with warnings.catch_warnings(action="ignore"):
        loader = OmegaConfigLoader(
            str(conf.parent), base_env="base", default_run_env="base", custom_resolvers={"secret": secret},
            runtime_params=literal({"text": text, "list": [text], "deep": {"er": text}}),
        )  # fmt: skip
        assert loader["parameters"] == {"asked": text, "copy": text, "text": text, "list": [text], "deep": {"er": text}}
        assert loader["catalog"] == {"a": {"filepath": f"data/{text}.csv"}}


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 2},
        {"forest": {"n_estimators": 3}},
        {"open": {"any": 1}},
        {"date": "x"},
        {},
        {"date": {"part": 1}},
        {"forest": {"max_depth": 3, "deep": {"er": None}}},
        {"forest": {}},
        {"forest": 3},
    ],
)
def test_a_parameter_that_a_node_uses_is_accepted(params):
    check_known(params, DECLARED, CONSUMED, {"date"}, "p")


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"alhpa": 2}, "--params alhpa=2: no node of pipeline 'p' uses parameter 'alhpa'. Did you mean 'alpha'?"),
        ({"forest": {"n_estimator": 3}}, "Did you mean 'forest.n_estimators'?"),
        ({"unused": 1}, "no node of pipeline 'p' uses parameter 'unused'."),
    ],
)
def test_a_typo_is_named_with_the_nearest_parameter(params, sentence):
    with pytest.raises(UserError) as error:
        check_known(params, DECLARED, CONSUMED, {"date"}, "p")
    assert sentence in str(error.value)


def test_all_typos_are_named_at_once():
    with pytest.raises(UserError, match=r"alhpa(.|\n)*n_estimator=(.|\n)*run_config.hook_params"):
        check_known({"alhpa": 2, "forest": {"n_estimator": 3}}, DECLARED, CONSUMED, set(), "p")


def test_every_parameter_is_accepted_if_a_node_takes_them_all_except_what_looks_like_a_typo():
    check_known({"unused": 1, "new": {"a": 1}}, DECLARED, {""}, set(), "p")
    with pytest.raises(UserError, match="Did you mean 'alpha'"):
        check_known({"alhpa": 1}, DECLARED, {""}, set(), "p")


class _Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, -(2**80), 1.0, 1e300, float("inf"), float("nan"), "a", "ü\ud800", [], {}, [1, [2.0, {"a": None}]], {1: "x", 2.0: "y"},
        {"$json": 1}, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), time(1, 2, 3), time(1, 2, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    ],
)  # fmt: skip
def test_a_value_that_comes_back_equal_is_resolved_once_for_all_steps(value):
    loader = {"parameters": {"outer": {"x": value}}}
    resolved = resolve(loader, {"parameters": {"outer": {"x": True}}})
    again = decode(json.loads(json.dumps(resolved)))["parameters"]["outer"]["x"]
    assert (type(again), repr(again)) == (type(value), repr(value))


@pytest.mark.parametrize(
    "value",
    [
        _Colour.RED, HTTPStatus.OK, numpy.float64(1.5), numpy.int64(1), OrderedDict(a=1), pandas.NaT, pandas.Timestamp("2026-01-01"), (1, 2),
        {1, 2}, datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), Decimal(1), Fraction(1, 2), b"x", object(), {"a": (1,)}, [numpy.float64(1)],
        Path("data"), pandas.DataFrame({"a": [1]}),
    ],
)  # fmt: skip
def test_a_value_that_would_come_back_as_another_is_left_to_each_step_with_a_word(value, caplog):
    loader = {"parameters": {"odd": value, "plain": 1}}
    assert resolve(loader, {"parameters": {"odd": True, "plain": True}}) == {"parameters": {"plain": 1}}
    assert (
        f"parameters: odd: a resolver has returned a {type(value).__name__}, which cannot be handed on" in caplog.text
    )
