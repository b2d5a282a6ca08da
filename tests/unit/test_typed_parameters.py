"""Parameters that Kedro makes objects of by the type hints of nodes are refused, and named, as `kedro run` does it."""

from dataclasses import dataclass

import pytest
from kedro.pipeline import Node, Pipeline
from pydantic import BaseModel

from vertexai_mlflow.compile.refusals import refuse_missing_parameters
from vertexai_mlflow.compile.typed_parameters import types_of, with_types
from vertexai_mlflow.contract.params import by_name
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.tracking.files import as_yaml


class Model(BaseModel):
    depth: int
    rate: float = 0.1
    api_key: str = "abc"


@dataclass
class Split:
    share: float
    seed: int = 7


def fit(model: Model, split: Split | None): ...


def tell(*values): ...


TRAINING = Pipeline([Node(fit, ["params:model", "params:deep.split"], None, name="fit")])
PARAMETERS = {"model": {"depth": "3"}, "deep": {"split": {"share": 0.5}}}


def typed(parameters):
    return with_types(parameters, "training", {"training": TRAINING})[0]


def test_an_object_and_its_fields_are_what_nodes_get():
    names = by_name(typed(PARAMETERS))
    assert names["model"] == Model(depth=3)
    assert names["deep.split"] == Split(0.5)
    assert (names["model.depth"], names["model.rate"], names["deep.split.seed"]) == (3, 0.1, 7)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        (PARAMETERS | {"model": {"depth": "deep"}}, "Parameter 'model': .*valid integer"),
        (PARAMETERS | {"model": None}, "Parameter 'model': value is None"),
        (PARAMETERS | {"deep": {"split": {"shere": 1}}}, "Parameter 'deep.split': .*'shere'"),
    ],
)
def test_what_a_class_does_not_take_is_refused_unless_a_hook_may_change_it(parameters, named, caplog):
    with pytest.raises(UserError, match=rf"(?s)parameters of pipeline 'training':\n- {named}"):
        typed(parameters)
    assert not caplog.text
    with pytest.raises(UserError) as error:
        typed(PARAMETERS | {"model": {"depth": "of a vault"}})
    assert "of a vault" not in str(error.value)
    as_it_is, warnings = with_types(parameters, "training", {"training": TRAINING}, ["Hooks.after_context_created"])
    assert as_it_is == parameters
    assert warnings[0].endswith("A hook must change them in every step: Hooks.after_context_created.")


def test_what_kedro_thinks_of_hints_is_not_said_whenever_one_compiles(caplog):
    def either(value: int | str): ...

    types_of({"p": Pipeline([Node(either, "params:value", None, name="either")])})
    assert not caplog.text


def test_an_optional_one_may_be_null():
    assert typed(PARAMETERS | {"deep": {"split": None}})["deep"] == {"split": None}


def test_fields_with_defaults_are_known_and_typos_of_them_refused():
    for field, is_known in (("rate", True), ("rates", False)):
        pipeline = TRAINING + Pipeline([Node(tell, [f"params:model.{field}"], None, name="tell")])
        if is_known:
            assert refuse_missing_parameters("training", pipeline, typed(PARAMETERS)) == []
        else:
            with pytest.raises(UserError, match=r"'model\.rates' .* Did you mean 'model\.rate'"):
                refuse_missing_parameters("training", pipeline, typed(PARAMETERS))


def test_parameters_yml_has_fields_and_hides_those_that_look_like_secrets():
    text = as_yaml({"model": Model(depth=3), "split": Split(0.5)})
    assert text == "model:\n  depth: 3\n  rate: 0.1\n  api_key: '***'\nsplit:\n  share: 0.5\n  seed: 7\n"
