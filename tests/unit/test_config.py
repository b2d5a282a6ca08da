from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.carried_over import without_meaningless_keys
from vertexai_mlflow.settings.configuration import Configuration
from vertexai_mlflow.settings.models import parse_settings

WHERE = "conf/base/vertexai.yml"


def test_keys_of_kedro_vertexai_without_effect_are_named_together_and_left_out():
    stock = {
        "image": "x",
        "image_pull_policy": "Always",
        "ttl": 604800,
        "run_name": "a",
        "dynamic_config_providers": [],
    }
    raw, (warning,) = without_meaningless_keys({"project_id": "p", "run_config": stock}, WHERE)
    assert raw == {"project_id": "p", "run_config": {"image": "x"}}
    assert warning.startswith(
        f"{WHERE}: run_config: these keys of kedro-vertexai have no effect here; remove them: image_pull_policy ("
    )
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
            "key 'run_config.dynamic_config_providers' of kedro-vertexai has no effect here. Instead, write ${gcp.id_token:",
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


@pytest.mark.filterwarnings("ignore:register_new_resolver:UserWarning")
def test_the_keys_that_resolvers_make_are_found_without_calling_one_and_secrets_stay_out(tmp_path):
    content = {
        "plain": 1, "moment": "at ${now:}", "listed": [1, {"deep": "${now:}"}], "nested": {"a": "${now:}", "b": 2},
        "token": "${gcp.token:}", "both": "${now:} ${gcp.token:}", "around": "${now:u,${gcp.token:}}",
    }  # fmt: skip
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters.yml").write_text(yaml.safe_dump(content))

    def configuration(*names: str) -> Configuration:
        args = {"base_env": "base", "default_run_env": "base", "custom_resolvers": dict.fromkeys(names, Path.unlink)}
        return Configuration(tmp_path, tmp_path, None, OmegaConfigLoader, args)

    keys = configuration("now", "gcp.token").resolved_once({}, None).keys
    assert keys == {"parameters": {"moment": True, "listed": True, "nested": {"a": True}}}
    (tmp_path / "base/parameters.yml").write_text(yaml.safe_dump({"token": content["token"]}))
    assert configuration("gcp.token").resolved_once({}, None).keys == {}
    assert configuration("gcp.token").marked("parameters", {}) == {"token": "***"}


@pytest.mark.filterwarnings("ignore:register_new_resolver:UserWarning")
@pytest.mark.parametrize(
    ("names", "handed_on", "left_alone"),
    [
        (None, {"moment", "mixed", "day"}, {"password", "db_password", "vaulted", "both"}),
        (["now"], {"moment"}, {"password", "db_password", "vaulted", "both", "mixed", "day"}),
        (["now", "today", "read.vault"], {"moment", "mixed", "day"}, {"password", "db_password", "vaulted", "both"}),
        ([], set(), {"moment", "mixed", "day", "password", "db_password", "vaulted", "both"}),
    ],
)
def test_only_values_of_named_resolvers_are_handed_on_and_no_secret(tmp_path, names, handed_on, left_alone):
    content = {
        "plain": 1, "moment": "${now:}", "day": "${today:}", "mixed": "${now:} ${today:}", "password": "${now:}",
        "db_password": {"deep": "${today:}"}, "vaulted": "${read.vault:x}", "both": "${now:${read.vault:x}}",
    }  # fmt: skip
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters.yml").write_text(yaml.safe_dump(content))
    resolvers = dict.fromkeys(("now", "today", "read.vault"), Path.unlink)
    args = {"base_env": "base", "default_run_env": "base", "custom_resolvers": resolvers}
    resolved = Configuration(tmp_path, tmp_path, None, OmegaConfigLoader, args).resolved_once({}, names)
    assert {where.split(": ")[1] for where in resolved.handed_on} == handed_on
    assert {where.split(": ")[1] for where in resolved.left_alone} == left_alone
    assert set(resolved.keys.get("parameters", {})) == handed_on


LAUNCHES = {"nightly": {"pipeline": "train", "schedule": {"cron_expression": "0 3 * * *"}}}


@pytest.mark.parametrize(
    ("run_config", "sentence"),
    [
        ({"schedules": {"train": {"cron_expression": "0 6 * * *"}}}, "launches.nightly and schedules both say when train runs"),
        ({"schedules": {"nightly": {"cron_expression": "0 6 * * *"}}}, "launches.nightly and schedules both say when train"),
        ({"launches": {"weekly": {"selecton": {}}}}, "unknown key 'run_config.launches.weekly.selecton'. Did you mean 'selection'?"),
        ({"launches": {"weekly": {"selection": {"tag": ["a"]}}}}, "Did you mean 'tags'?"),
        ({"launches": {"Not A Label": {}}}, "run_config.launches.Not A Label"),
        (
            {"launches": {"weekly": {"schedule": {"cron_expression": "0 3 * * *", "params": {"a": 1}}}}},
            "schedule.params is for entries of run_config.schedules. Move it to params.",
        ),
    ],
)  # fmt: skip
def test_a_launch_that_cannot_be_is_refused_with_its_key(run_config, sentence):
    with pytest.raises(UserError) as error:
        parse_settings({"run_config": {"image": "x", "launches": LAUNCHES, **run_config}}, WHERE)
    assert sentence in str(error.value)


def test_a_launch_of_a_pipeline_that_another_entry_schedules_needs_no_schedule():
    raw = {"launches": {"by_hand": {"pipeline": "train"}}, "schedules": {"train": {"cron_expression": "0 6 * * *"}}}
    settings = parse_settings({"run_config": {"image": "x", **raw}}, WHERE)
    assert list(settings.run_config.schedule_entries) == ["train"]
