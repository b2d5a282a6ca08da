import json
import math

import pytest
from google.protobuf import json_format, struct_pb2
from starter.errors import UserError
from starter.vertexai.compile.refusals import check_known
from starter.vertexai.contract import decode, encode


def through_a_struct(params: dict) -> dict:
    """Send parameters through a protobuf ``Struct``, as the platform does. It turns numbers into doubles."""
    struct = json_format.Parse(json.dumps(encode(params)), struct_pb2.Struct())
    return decode(json.loads(json_format.MessageToJson(struct)))


@pytest.mark.parametrize(
    "value",
    [0, 1, -7, 2**53, 2**53 + 1, -(2**70), 1.0, -0.0, 0.1, 1e300, math.inf, True, False, None, "", "1", "a'b\"c$(d)`e`\n{{$}}ü",
     [], {}, [1, 1.0, [True]], {"a": {"b": [{"c": 2.0}]}}],
)  # fmt: skip
def test_a_runtime_parameter_reaches_the_step_with_its_type(value):
    arrived = through_a_struct({"x": value})["x"]
    assert repr(arrived) == repr(value)


DECLARED = {"forest": {"n_estimators": 100}, "alpha": 1, "unused": 2, "open": {}}
CONSUMED = {"forest", "alpha", "open"}


@pytest.mark.parametrize(
    "params", [{"alpha": 2}, {"forest": {"n_estimators": 3}}, {"open": {"any": 1}}, {"date": "x"}, {}]
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


def test_every_parameter_is_accepted_if_a_node_takes_them_all():
    check_known({"unused": 1}, DECLARED, {""}, set(), "p")
