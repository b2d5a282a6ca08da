import pytest

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.carried_over import without_meaningless_keys
from vertexai_mlflow.settings.models import parse_settings

WHERE = "conf/base/vertexai.yml"


def test_keys_of_kedro_vertexai_that_mean_nothing_are_named_together_and_left_out():
    stock = {
        "image": "x",
        "image_pull_policy": "Always",
        "ttl": 604800,
        "run_name": "a",
        "dynamic_config_providers": [],
    }
    raw, (warning,) = without_meaningless_keys({"project_id": "p", "run_config": stock}, WHERE)
    assert raw == {"project_id": "p", "run_config": {"image": "x"}}
    assert warning.startswith(f"{WHERE}: run_config: delete these lines, which mean nothing here: image_pull_policy (")
    assert all(key in warning for key in stock if key != "image")


@pytest.mark.parametrize("raw", [{}, {"run_config": None}, {"run_config": {"image": "x"}}])
def test_a_file_without_such_keys_stays_as_it_is(raw):
    assert without_meaningless_keys(raw, WHERE) == (raw, [])


def test_resources_may_be_written_as_plain_numbers():
    settings = parse_settings({"run_config": {"image": "x", "resources": {"__default__": {"cpu": 2}}}}, WHERE)
    assert settings.run_config.resources["__default__"].cpu == "2"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"run_config": {"imgae": "x"}}, "unknown key 'run_config.imgae'. Did you mean 'image'?"),
        ({"run_confg": {}}, "unknown key 'run_confg'. Did you mean 'run_config'?"),
        (
            {"run_config": {"image": "x", "dynamic_config_providers": [{"cls": "a.B"}], "imgae": 1}},
            "key 'run_config.dynamic_config_providers' of kedro-vertexai has no meaning here. Instead, write ${gcp.id_token:",
        ),
        ({"run_config": {"image": "x", "wait_for_completion": True}}, "Instead, give run-once the option"),
        (
            {"run_config": {"image": "x", "resources": {"train": {"memroy": "1Gi"}}}},
            "unknown key 'run_config.resources.train.memroy'. Did you mean 'memory'?",
        ),
        ({"run_config": {}}, "key 'run_config.image' is missing."),
        ({"run_config": {"image": ["x"]}}, "key 'run_config.image': Input should be a valid string, got ['x']."),
    ],
)
def test_a_wrong_key_is_named_with_its_file_and_the_nearest_valid_one(raw, sentence):
    with pytest.raises(UserError) as error:
        parse_settings(raw, WHERE)
    assert str(error.value).startswith(f"{WHERE}: ")
    assert sentence in str(error.value)
