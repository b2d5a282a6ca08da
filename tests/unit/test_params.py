import json
import math

import pytest
from google.protobuf import json_format, struct_pb2
from starter.errors import UserError
from starter.vertexai.compile.params import check_known
from starter.vertexai.contract import decode, encode


def through_a_struct(params: dict) -> dict:
    """What the platform does to a STRUCT: protobuf Struct and back, numbers becoming doubles."""
    struct = json_format.Parse(json.dumps(encode(params)), struct_pb2.Struct())
    return decode(json.loads(json_format.MessageToJson(struct)))


@pytest.mark.parametrize(
    "value",
    [0, 1, -7, 2**53, 2**53 + 1, -(2**70), 1.0, -0.0, 0.1, 1e300, math.inf, True, False, None, "", "1", "a'b\"c$(d)`e`\n{{$}}ü",
     [], {}, [1, 1.0, [True]], {"a": {"b": [{"c": 2.0}]}}],
)  # fmt: skip
def test_a_value_arrives_with_its_type(value):
    arrived = through_a_struct({"x": value})["x"]
    assert repr(arrived) == repr(value)


DECLARED = {"forest": {"n_estimators": 100}, "alpha": 1, "unused": 2, "open": {}}
CONSUMED = {"forest", "alpha", "open"}


@pytest.mark.parametrize(
    "params", [{"alpha": 2}, {"forest": {"n_estimators": 3}}, {"open": {"any": 1}}, {"date": "x"}, {}]
)
def test_a_parameter_that_is_used_passes(params):
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


def test_a_node_that_takes_all_parameters_takes_each():
    check_known({"unused": 1}, DECLARED, {""}, set(), "p")
