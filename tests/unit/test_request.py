"""The request for a pipeline job, as data."""

import pytest

from vertexai_mlflow.cloud.request import check_job_id, label_value, labels_of, make_request
from vertexai_mlflow.contract.params import leaves
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import Settings, parse_settings

SPEC = {"pipelineInfo": {"name": "demo"}, "root": {}}


def settings(**values: object) -> Settings:
    run_config = {"image": "x", "root": "gs://bucket/demo", **values.pop("run_config", {})}
    return parse_settings({"project_id": "p", "region": "europe-west1", **values, "run_config": run_config}, "f")


def request(params: dict | None = None, name: str = "demo-1", **run_config: object) -> dict:
    config = settings(run_config=run_config)
    return make_request(
        SPEC, config, name=name, params=params or {}, labels=labels_of("demo", "cloud", "train"), where="f"
    )


def test_the_settings_are_in_the_request():
    asked = request(
        {"n": 1.0},
        service_account="pipeline@p.iam.gserviceaccount.com",
        network={"vpc": "projects/1/global/networks/vpc"},
        encryption_spec_key_name="projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
        labels={"team": "birds"},
    )
    fingerprint = asked["labels"].pop("kedro_fingerprint")
    assert len(fingerprint) == 32
    assert asked == {
        "displayName": "demo-1",
        "pipelineSpec": SPEC,
        "runtimeConfig": {
            "gcsOutputDirectory": "gs://bucket/demo",
            "parameterValues": {"params": {"n": {"$json": "1.0"}}},
        },
        "serviceAccount": "pipeline@p.iam.gserviceaccount.com",
        "network": "projects/1/global/networks/vpc",
        "encryptionSpec": {"kmsKeyName": "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"},
        "labels": {"team": "birds", "kedro_project": "demo", "kedro_env": "cloud", "kedro_pipeline": "train"},
    }


def test_the_fields_of_a_job_are_in_the_request():
    asked = request(
        psc_interface_config={"network_attachment": "projects/p/regions/europe-west1/networkAttachments/a"},
        failure_policy="fail_fast",
        preflight_validations=True,
    )
    assert asked["pscInterfaceConfig"] == {"networkAttachment": "projects/p/regions/europe-west1/networkAttachments/a"}
    assert asked["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
    assert asked["preflightValidations"] is True
    peered = request(network={"vpc": "projects/1/global/networks/vpc"}, reserved_ip_ranges=["one", "two"])
    assert peered["reservedIpRanges"] == ["one", "two"]


@pytest.mark.parametrize(
    ("run_config", "sentence"),
    [
        (
            {"psc_interface_config": {"network_attachment": "a"}, "network": {"vpc": "projects/1/global/networks/v"}},
            "f: run_config: psc_interface_config and network.vpc exclude each other. Remove one of them.",
        ),
        ({"reserved_ip_ranges": ["a"]}, "f: run_config: reserved_ip_ranges belong to a VPC. Add network.vpc, or remove them."),
        ({"reserved_ip_ranges": ["A b"]}, "f: key 'run_config.reserved_ip_ranges.0': String should match pattern"),
        ({"psc_interface_config": {"network_attachment": "a/b"}}, "f: key 'run_config.psc_interface_config.network_attachment'"),
        ({"failure_policy": "fast"}, "f: key 'run_config.failure_policy': Input should be 'fail_slow' or 'fail_fast', got 'fast'."),
    ],
)  # fmt: skip
def test_fields_of_a_job_that_are_wrong_or_exclude_each_other_are_refused(run_config, sentence):
    with pytest.raises(UserError) as error:
        request(**run_config)
    assert str(error.value).startswith(sentence)


PEERING = {"domain": "corp.example.", "targetProject": "host", "targetNetwork": "shared"}


def test_private_names_are_found_by_dns_peering():
    peering = {"domain": "corp.example.", "target_project": "host", "target_network": "shared"}
    asked = request(psc_interface_config={"network_attachment": "a", "dns_peering_configs": [peering]})
    assert asked["pscInterfaceConfig"] == {"networkAttachment": "a", "dnsPeeringConfigs": [PEERING]}
    with pytest.raises(UserError, match=r"dns_peering_configs.*domain"):
        request(psc_interface_config={"dns_peering_configs": [{**peering, "domain": "corp.example"}]})


def test_fields_of_google_that_have_no_key_here_are_merged_into_the_request():
    asked = request(
        psc_interface_config={"network_attachment": "a"},
        failure_policy="fail_fast",
        pipeline_job={
            "templateUri": "https://europe-west1-kfp.pkg.dev/p/r/demo/v1",
            "pscInterfaceConfig": {"dnsPeeringConfigs": [PEERING]},
            "runtimeConfig": {"inputArtifacts": {"model": {"artifactId": "7"}}},
        },
    )
    assert asked["templateUri"] == "https://europe-west1-kfp.pkg.dev/p/r/demo/v1"
    assert asked["pscInterfaceConfig"] == {"networkAttachment": "a", "dnsPeeringConfigs": [PEERING]}
    assert asked["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://bucket/demo",
        "parameterValues": {},
        "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        "inputArtifacts": {"model": {"artifactId": "7"}},
    }


def test_a_field_is_sent_in_the_spelling_of_the_rest_api():
    """So a schedule that is read back equals the file."""
    asked = request(pipeline_job={"psc_interface_config": {"dns_peering_configs": [PEERING]}})
    assert asked["pscInterfaceConfig"] == {"dnsPeeringConfigs": [PEERING]}


@pytest.mark.parametrize(
    ("pipeline_job", "message"),
    [
        ({"serviceAccount": "b@p"}, "serviceAccount is set by run_config.service_account. Remove it here."),
        ({"service_account": "b@p"}, "serviceAccount is set by run_config.service_account. Remove it here."),
        ({"labels": {"team": "birds"}}, "labels is set by run_config.labels. Remove it here."),
        ({"pipelineSpec": {"root": {}}}, "pipelineSpec is set by the compiled pipeline. Remove it here."),
        (
            {"runtimeConfig": {"gcsOutputDirectory": "gs://b"}, "network": "n"},
            "runtimeConfig.gcsOutputDirectory is set by run_config.root, network is set by run_config.network.vpc. Remove it",
        ),
        ({"experiment": "x"}, 'Message type "google.cloud.aiplatform.v1.PipelineJob" has no field named "experiment"'),
        ({"runtimeConfig": {"retries": 2}}, 'Failed to parse runtimeConfig field: Message type "google.cloud.aiplatform.v1.PipelineJob.RuntimeConfig" has no field named "retries" at "PipelineJob.runtimeConfig".'),
        ({"templateUri": 1}, "Failed to parse templateUri field: expected string"),
    ],
)  # fmt: skip
def test_a_field_of_google_that_is_unknown_or_has_a_key_here_is_refused(pipeline_job, message):
    with pytest.raises(UserError) as error:
        request(service_account="a@p", pipeline_job=pipeline_job)
    assert str(error.value).startswith(f"f: run_config.pipeline_job: {message}")
    assert "\n" not in str(error.value)


def test_every_field_that_a_setting_puts_into_the_request_is_refused_among_googles():
    """With all of them set, each leaf of the request is one that ``run_config.pipeline_job`` may not have."""
    whole = request(
        {"n": 1},
        service_account="a@p",
        network={"vpc": "v"},
        reserved_ip_ranges=["one"],
        failure_policy="fail_fast",
        preflight_validations=True,
        encryption_spec_key_name="k",
    )
    whole["pscInterfaceConfig"] = {"networkAttachment": "a"}  # it excludes network.vpc
    for name, value in leaves(whole):
        *parents, last = name.split(".")
        field = {last: value}
        for parent in reversed(parents):
            field = {parent: field}
        with pytest.raises(UserError, match="is set by"):
            request(pipeline_job=field)


def test_the_request_leaves_out_what_is_not_set():
    asked = request()
    assert set(asked) == {"displayName", "pipelineSpec", "runtimeConfig", "labels"}
    assert asked["runtimeConfig"]["parameterValues"] == {}


def test_the_fingerprint_depends_on_the_content_and_not_on_the_name():
    def fingerprint(**values: object) -> str:
        return request(**values)["labels"]["kedro_fingerprint"]

    assert fingerprint() == fingerprint(name="demo-2")
    others = [
        {"params": {"n": 1}}, {"root": "gs://other"}, {"service_account": "a@b"}, {"pipeline_job": {"templateUri": "u"}},
    ]  # fmt: skip
    assert len({fingerprint(**other) for other in [{}, *others]}) == 5


def test_labels_are_valid_and_different_texts_get_different_labels():
    assert label_value("__default__") == "__default__"
    values = {label_value(text) for text in ("train.all", "train-all", "Train-All", "t" * 80, "t" * 81)}
    assert len(values) == 5
    assert all(len(value) <= 63 for value in values)


@pytest.mark.parametrize("root", ["file:///tmp", None])
def test_a_pipeline_root_that_is_not_in_cloud_storage_is_refused(root):
    with pytest.raises(
        UserError, match=rf"^f: run_config.root must be in Cloud Storage \(gs://bucket/path\), not {root}\."
    ):
        request(root=root)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"project_id": None}, "f: project_id not set, so this environment has no cloud to ask."),
        ({"project_id": None, "region": None}, "f: project_id and region not set"),
        ({"region": "Europe"}, "f: region: Europe is not the name of a region, such as europe-west1."),
        *(
            ({"api_endpoint": endpoint}, f"f: api_endpoint: {endpoint} must be an address of Google")
            for endpoint in (
                "http://europe-west1-aiplatform.googleapis.com",
                "https://vertex.example.com",
                "https://googleapis.com.example.com",
                "https://x-googleapis.com",
                "https://aiplatform.googleapis.com@example.com",
                "https://example.com\\@aiplatform.googleapis.com",
                "https://example.com/aiplatform.googleapis.com",
                "https://example.com#.googleapis.com",
                "http://127.0.0.1.example.com:80",
                "http://127.0.0.1@example.com",
            )
        ),
    ],
)
def test_an_environment_without_a_cloud_is_explained(values, sentence):
    with pytest.raises(UserError) as error:
        settings(**values).target("f")
    assert sentence in str(error.value)


def test_the_endpoint_is_that_of_the_region_unless_the_settings_name_another():
    assert settings().target("f").api_endpoint == "https://europe-west1-aiplatform.googleapis.com"
    for endpoint in (
        "https://europe-west1-aiplatform-mine.p.googleapis.com", "https://europe-west1-aiplatform.googleapis.com:443/",
        "http://127.0.0.1:80", "http://localhost:80", "http://[::1]:80",
    ):  # fmt: skip
        assert settings(api_endpoint=endpoint).target("f").api_endpoint == endpoint


@pytest.mark.parametrize("job_id", ["Job", "1job", "a_b", "a" * 128, ""])
def test_a_job_id_that_vertex_would_refuse_is_refused(job_id):
    with pytest.raises(UserError, match="lower-case letters, digits and hyphens"):
        check_job_id(job_id)


def test_a_job_id_may_be_127_letters_long():
    check_job_id("a" * 127)
