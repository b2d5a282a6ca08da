import pytest
from starter.errors import UserError
from starter.vertexai.settings.models import parse_settings

WHERE = "conf/base/vertexai.yml"


def test_resources_may_be_written_as_plain_numbers():
    settings = parse_settings({"run_config": {"image": "x", "resources": {"__default__": {"cpu": 2}}}}, WHERE)
    assert settings.run_config.resources["__default__"].cpu == "2"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"run_config": {"imgae": "x"}}, "unknown key 'run_config.imgae'. Did you mean 'image'?"),
        ({"run_confg": {}}, "unknown key 'run_confg'. Did you mean 'run_config'?"),
        ({"run_config": {"image": "x", "ttl": 1}}, "unknown key 'run_config.ttl'."),
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
