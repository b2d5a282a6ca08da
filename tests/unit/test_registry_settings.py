"""What run_config.registry and run_config.notify may say."""

import pytest

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig, parse_settings

WEBHOOK = "gcp.secret:chat,latest"


def parse(**keys: object) -> RunConfig:
    return parse_settings({"run_config": {"image": "x", **keys}}, "vertexai.yml").run_config


def test_yaml_reads_on_as_true():
    assert parse(notify={True: ["success"], "webhook": WEBHOOK}).notify.on == ["success"]


def test_an_empty_key_is_as_if_it_were_not_there():
    assert parse(notify=None).notify.webhook is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"notify": "https://chat.example.com/verysecret"}, "key 'run_config.notify'"),
        ({"notify": [{"webhook": "https://chat.example.com/verysecret"}]}, "key 'run_config.notify'"),
        (
            {"notify": {"hook": {"webhook": "https://chat.example.com/verysecret"}}},
            "unknown key 'run_config.notify.hook'",
        ),
        ({"registry": {"model": "model"}}, "run_config.registry: name both the model"),
        ({"registry": {"model": "m", "name": "a/b"}}, "key 'run_config.registry.name'"),
        ({"registry": {"model": "m", "name": "it's"}}, "key 'run_config.registry.name'"),
        ({"registry": {"model": "m", "name": "n", "gate": {"min": 1}}}, "run_config.registry.gate: name the metric"),
        (
            {"registry": {"model": "m", "name": "n", "gate": {"metric": "f1", "not_worse_than": "champion"}}},
            "run_config.registry.gate: give min, if a higher value is better",
        ),
        (
            {"registry": {"model": "m", "name": "n", "gate": {"metric": "f1", "min": 0, "max": 1}}},
            "run_config.registry.gate: give min",
        ),
        ({"registry": {"model": "m", "name": "n", "gtae": {}}}, "Did you mean 'gate'?"),
        ({"notify": {"form": "slack"}}, "run_config.notify: name the secret that has the address"),
        ({"notify": {"webhook": "https://chat.example.com/verysecret"}}, "so it must not be in a file"),
        ({"notify": {"webhook": ["https://chat.example.com/verysecret"]}}, "key 'run_config.notify.webhook'"),
        ({"notify": {"webhook": WEBHOOK, "on": ["failed"]}}, "run_config.notify.on.0"),
    ],
)
def test_what_cannot_be_meant_is_named(keys, message):
    with pytest.raises(UserError) as error:
        parse(**keys)
    assert message in str(error.value)
    assert "verysecret" not in str(error.value)
