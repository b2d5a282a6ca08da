"""Steps as custom jobs: what Google's classes read in a spec, what is refused, and that a step inside is found again."""

import json
from pathlib import Path

import pytest
from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format
from kedro.pipeline import Node
from kfp.pipeline_spec import pipeline_spec_pb2
from plans import planned, same

from vertexai_mlflow.cloud.request import refuse_unknown_fields
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.custom_job import describe_doubts
from vertexai_mlflow.compile.machines import GPU_MACHINES, N1_GPUS, cpus_of, find_unknown
from vertexai_mlflow.compile.width import count_one_after_the_other, describe_width
from vertexai_mlflow.contract.arguments import StepArguments
from vertexai_mlflow.contract.custom_job import LAUNCHER, custom_job_of, machine_of, unwrapped
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.names import GATHER_PREFIX
from vertexai_mlflow.contract.spec import tasks
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.local.scheduler import RunOptions, run_spec
from vertexai_mlflow.settings.models import RunConfig, parse_settings
from vertexai_mlflow.settings.resources import Resources

NODES = [Node(same, None, "a", name="load"), Node(same, "a", "b", name="train")]
ATTACHMENT = "projects/p/regions/europe-west1/networkAttachments/a"


def compiled(asked: dict, **run_config: object) -> dict:
    config = {
        "root": "gs://bucket/root",
        **run_config,
        "resources": {"train": asked, **run_config.get("resources", {})},
    }
    plan = planned(*NODES, **config)
    return compile_plan(plan, Launch("demo"), RunConfig(image="registry/x@sha256:1", **config))


def custom_job(asked: dict, **run_config: object) -> types.CustomJob:
    """The custom job of the step ``train``, as Google's own class reads it."""
    spec = compiled(asked, **run_config)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert (container["image"], "resources" in container) == (RunConfig(image="x").launcher_image, False)
    payload = container["args"][container["args"].index("--payload") + 1]
    return types.CustomJob.wrap(json_format.ParseDict(json.loads(payload), types.CustomJob.pb()()))


SPOT, FLEX = types.Scheduling.Strategy.SPOT, types.Scheduling.Strategy.FLEX_START
POOL = {"machineSpec": {"reservationAffinity": {"reservationAffinityType": "ANY_RESERVATION"}}}


@pytest.mark.parametrize(
    ("asked", "run_config", "machine"),
    [
        ({"machine_type": "n2-highmem-16"}, {}, ("n2-highmem-16", "", 0)),
        ({"machine_type": "g2-standard-24"}, {}, ("g2-standard-24", "NVIDIA_L4", 2)),
        ({"machine_type": "g2-standard-24", "gpu_type": "NVIDIA_L4"}, {}, ("g2-standard-24", "NVIDIA_L4", 2)),
        ({"machine_type": "n1-standard-8", "gpu_type": "NVIDIA_TESLA_T4", "gpu": 2}, {}, ("n1-standard-8", "NVIDIA_TESLA_T4", 2)),
        ({"spot": True}, {}, ("e2-standard-4", "", 0)),
        ({"spot": True, "cpu": 6, "memory": "20Gi"}, {}, ("e2-standard-8", "", 0)),
        ({"boot_disk": {"size": 500}}, {}, ("e2-standard-4", "", 0)),
        ({"machine_type": "a2-highgpu-1g", "max_wait": "2h"}, {}, ("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1)),
        ({"machine_type": "n1-standard-4", "cpu": 64}, {"persistent_resource": {"name": "pool"}}, ("n1-standard-4", "", 0)),
        ({"custom_job": {"jobSpec": {"workerPoolSpecs": [POOL]}}}, {}, ("e2-standard-4", "", 0)),
        ({"machine_type": "x9-standard-8", "gpu_type": "NVIDIA_B200", "gpu": 8}, {}, ("x9-standard-8", "NVIDIA_B200", 8)),
    ],
)  # fmt: skip
def test_google_reads_the_machine_that_was_asked_for(asked, run_config, machine):
    pool = custom_job(asked, **run_config).job_spec.worker_pool_specs[0]
    spec = pool.machine_spec
    gpu_type = spec.accelerator_type.name if spec.accelerator_count else ""
    assert (spec.machine_type, gpu_type, spec.accelerator_count, pool.replica_count) == (*machine, 1)


def test_the_job_has_the_account_network_key_labels_disk_and_scheduling_of_the_settings():
    job = custom_job(
        {"machine_type": "n1-standard-4", "spot": True, "boot_disk": {"type": "pd-standard", "size": 300}},
        service_account="pipeline@p.iam.gserviceaccount.com",
        network={"vpc": "projects/1/global/networks/vpc"},
        reserved_ip_ranges=["one"],
        labels={"team": "birds"},
        encryption_spec_key_name="projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
    )  # fmt: skip
    spec = job.job_spec
    assert (job.display_name, dict(job.labels)) == ("{{$.pipeline_job_name}}", {"team": "birds", "kedro_task": "train"})
    assert job.encryption_spec.kms_key_name.endswith("cryptoKeys/k")
    assert (spec.service_account, spec.network, list(spec.reserved_ip_ranges)) == (
        "pipeline@p.iam.gserviceaccount.com", "projects/1/global/networks/vpc", ["one"],
    )  # fmt: skip
    assert spec.scheduling.strategy == SPOT
    disk = spec.worker_pool_specs[0].disk_spec
    assert (disk.boot_disk_type, disk.boot_disk_size_gb) == ("pd-standard", 300)


def test_without_an_account_the_job_runs_as_the_pipeline_does_and_reaches_its_private_network():
    spec = custom_job(
        {"machine_type": "g2-standard-4", "max_wait": "2h"},
        psc_interface_config={
            "network_attachment": ATTACHMENT,
            "dns_peering_configs": [{"domain": "corp.example.", "target_project": "p", "target_network": "vpc"}],
        },
        persistent_resource=None,
    ).job_spec
    assert spec.service_account == "{{$.pipeline_service_account}}"
    assert spec.psc_interface_config.network_attachment == ATTACHMENT
    assert spec.psc_interface_config.dns_peering_configs[0].domain == "corp.example."
    assert (spec.scheduling.strategy, spec.scheduling.max_wait_duration.total_seconds()) == (FLEX, 7200)


def test_replicas_and_reservations_go_by_the_fields_of_a_custom_job():
    job = custom_job(
        {
            "machine_type": "a3-highgpu-8g",
            "boot_disk": {"size": 500},
            "env": {"MODE": "fast"},
            "custom_job": {
                "jobSpec": {
                    "workerPoolSpecs": [POOL, {"replicaCount": 3}, {"replicaCount": 1, "machineSpec": {"machineType": "n1-standard-4"}}],
                    "scheduling": {"timeout": "864000s"},
                },
                "labels": {"kind": "big"},
            },
        }
    )  # fmt: skip
    assert (job.labels["kind"], job.labels["kedro_task"]) == ("big", "train")
    spec = job.job_spec
    first, second, third = spec.worker_pool_specs
    assert first.machine_spec.reservation_affinity.reservation_affinity_type.name == "ANY_RESERVATION"
    assert (second.replica_count, second.machine_spec, second.disk_spec) == (3, first.machine_spec, first.disk_spec)
    assert (first.machine_spec.accelerator_count, first.disk_spec.boot_disk_size_gb) == (8, 500)
    assert (third.replica_count, third.machine_spec.machine_type) == (1, "n1-standard-4")
    assert second.container_spec == third.container_spec == first.container_spec
    assert (spec.scheduling.timeout.total_seconds(), first.container_spec.env[0].value) == (864000, "fast")


def test_the_step_in_a_custom_job_is_read_as_one_that_has_a_task_of_its_own():
    plain, wrapped = (
        compiled({"cpu": 2, "retries": 2}),
        compiled({"machine_type": "g2-standard-4", "spot": True, "retries": 2}),
    )
    (of_plain, of_wrapped) = (next(task for task in tasks(spec) if task.name == "train") for spec in (plain, wrapped))
    assert StepArguments.of(of_wrapped.container["args"]) == StepArguments.of(of_plain.container["args"])
    for part in ("image", "command", "args"):
        assert of_wrapped.container[part] == of_plain.container[part]
    assert (of_wrapped.pauses, of_wrapped.artifacts, of_wrapped.parameters) == (
        of_plain.pauses,
        of_plain.artifacts,
        of_plain.parameters,
    )
    assert (machine_of(of_plain.container), machine_of(of_wrapped.container)) == (
        "2 CPU",
        "g2-standard-4, 1 × NVIDIA_L4, spot",
    )
    assert custom_job_of(plain["deploymentSpec"]["executors"]["exec-train"]["container"]) is None


@pytest.mark.parametrize(
    "payload", ["{\"job_spec\": {{$.inputs.parameters['x']}}}", '{"job_spec": {}, "labels": {"team": "birds"}}']
)
def test_a_custom_job_of_somebody_else_is_left_as_it_is(payload):
    container = {"image": "x", "command": list(LAUNCHER), "args": ["--type", "CustomJob", "--payload", payload]}
    assert unwrapped(container) is container


def test_doctor_knows_how_many_steps_wait_for_a_machine_one_after_the_other():
    nodes = [Node(same, f"d{number}" if number else None, f"d{number + 1}", name=f"n{number}") for number in range(4)]
    beside = Node(same, "d1", "other", name="beside")
    assert count_one_after_the_other(planned(*nodes, beside).steps) == 4
    assert count_one_after_the_other(()) == 0


def test_a_step_that_is_tried_again_starts_a_custom_job_of_its_own_each_time():
    """The launcher goes on with the job of the launcher before it, also with one that has failed."""

    def resources(**asked: object) -> tuple[str, list[str]]:
        spec = compiled({"spot": True, **asked})
        outputs = spec["components"]["comp-train"].get("outputDefinitions", {}).get("parameters", {})
        return spec["deploymentSpec"]["executors"]["exec-train"]["container"]["args"][-1], list(outputs)

    assert resources() == ("{{$.outputs.parameters['gcp_resources'].output_file}}", ["gcp_resources"])
    assert resources(retries=1) == ("/tmp/custom_job/gcp_resources", [])


@pytest.mark.parametrize(
    ("asked", "run_config", "sentence"),
    [
        ({"machine_type": "n1-standard-8", "gpu_type": "NVIDIA_L4"}, {}, "NVIDIA_L4, which n1-standard-8 cannot have. Use machine_type: g2-standard-4 … g2-standard-96."),
        ({"machine_type": "e2-standard-8", "gpu_type": "NVIDIA_TESLA_T4"}, {}, "NVIDIA_TESLA_T4, which e2-standard-8 cannot have. Use machine_type: n1-standard-8."),
        ({"machine_type": "g2-standard-8", "gpu_type": "NVIDIA_TESLA_T4"}, {}, "1 × NVIDIA_TESLA_T4, but g2-standard-8 has 1 × NVIDIA_L4."),
        ({"machine_type": "g2-standard-24", "gpu_type": "NVIDIA_L4", "gpu": 1}, {}, "1 × NVIDIA_L4, but g2-standard-24 has 2 × NVIDIA_L4."),
        ({"machine_type": "n1-standard-8", "gpu_type": "NVIDIA_TESLA_T4", "gpu": 3}, {}, "3 × NVIDIA_TESLA_T4, but there may be 1, 2, 4 of them"),
        ({"machine_type": "n1-standard-8", "gpu": 1}, {}, "1 GPU without a gpu_type"),
        ({"spot": True, "gpu_type": "NVIDIA_L4"}, {}, "NVIDIA_L4 without a machine_type. Use machine_type: g2-standard-4 …"),
        ({"spot": True, "max_wait": "30m"}, {}, "spot and max_wait. Vertex AI queues only"),
        ({"spot": True, "memory": "500G"}, {}, "memory 500G. Name a machine_type that has them."),
        ({"spot": True, "machine_type": "a3-highgpu-8g", "custom_job": {"jobSpec": {"workerPoolSpecs": [POOL]}}}, {}, "spot and for a reservation"),
        ({"machine_type": "n1-standard-4", "boot_disk": {"size": 200}}, {"persistent_resource": {"name": "pool"}}, "boot_disk, but run_config.persistent_resource has machines"),
        ({"machine_type": "n1-standard-4", "spot": True}, {"persistent_resource": {"name": "pool"}}, "spot, but run_config.persistent_resource"),
        ({"spot": True, "custom_job": {"displayName": "x", "jobSpec": {"scheduling": {"strategy": "STANDARD"}}}}, {}, "display_name, jobSpec.scheduling.strategy is set already"),
        ({"custom_job": {"jobSpec": {"workerPoolSpecs": [{"replicaCount": 2}]}}}, {}, "jobSpec.workerPoolSpecs[0].replica_count is set already"),
        ({"custom_job": {"jobSpec": {"workerPoolSpecs": {"replicaCount": 2}}}}, {}, "workerPoolSpecs in it a list of mappings"),
    ],
)  # fmt: skip
def test_what_vertex_ai_would_refuse_is_refused_when_compiling(asked, run_config, sentence):
    with pytest.raises(UserError) as error:
        compiled(asked, **run_config)
    assert "step 'train'" in str(error.value)
    assert sentence in str(error.value)


def test_a_field_that_google_does_not_know_is_refused_before_a_launch():
    refuse_unknown_fields(compiled({"custom_job": {"jobSpec": {"enableWebAccess": True}}}))
    with pytest.raises(UserError, match=r"custom_job of step 'train': .*no field named \"enable_web_acces\""):
        refuse_unknown_fields(compiled({"custom_job": {"jobSpec": {"enableWebAcces": True}}}))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"machine_type": "x9-standard-8"}, "machine_type x9-standard-8, which this project does not know"),
        ({"spot": True, "boot_disk": {"type": "pd-fast", "size": 100}}, "boot_disk.type pd-fast, which this project"),
        ({"machine_type": "n2-standard-8", "max_wait": 90}, "max_wait without a GPU"),
        ({"gpu": 1, "gpu_type": "NVIDIA_L4"}, "leaves the machine to Vertex AI, which may find none for it. Use machine_type: g2-standard-4"),
        ({"gpu": 1, "gpu_type": "NVIDIA_TESLA_T4"}, ""),
        ({"machine_type": "c3-standard-8"}, ""),
    ],
)  # fmt: skip
def test_what_this_project_does_not_know_is_a_warning(asked, sentence):
    assert sentence in " ".join(describe_doubts("train", Resources(**asked)))
    assert bool(sentence) == bool(describe_doubts("train", Resources(**asked)))


def test_the_tables_know_what_googles_library_calls_a_gpu():
    known = {machine.gpu_type for machine in GPU_MACHINES.values()} | set(N1_GPUS)
    assert known <= {kind.name for kind in types.AcceleratorType}
    assert {name: find_unknown(Resources(machine_type=name)) for name in GPU_MACHINES} == dict.fromkeys(
        GPU_MACHINES, ""
    )


def test_the_cpus_of_a_machine_count_for_the_quota_those_of_a_spot_machine_for_another_one():
    assert (cpus_of("n1-highmem-16"), cpus_of("a2-highgpu-1g"), cpus_of("strange")) == (16, 12, 0)
    nodes = [Node(same, None, name, name=name) for name in "abc"]
    asked = {"a": {"machine_type": "n1-highmem-16"}, "b": {"machine_type": "n1-highmem-32", "spot": True}}
    assert "3 steps side by side, which takes 20 CPUs" in describe_width(planned(*nodes, resources=asked).steps)


def test_a_custom_job_step_runs_on_this_machine(tmp_path: Path):
    """Everything but the step's own command is Google's, so a command that prints what it is told shows that it is told it."""
    code = "import json,sys; told=json.loads(sys.argv[1]); open(told['outputs']['outputFile'],'w').write(json.dumps({'parameterValues': {}})); print(sorted(told), sys.argv[2])"
    spec = compiled({"machine_type": "g2-standard-4"}, env={"MODE": 'it\'s "fast"'})
    for name, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        if name == "exec-train":
            payload = container["args"].index("--payload") + 1
            job = json.loads(container["args"][payload])
            worker = job["job_spec"]["worker_pool_specs"][0]["container_spec"]
            worker["command"], worker["args"] = (
                ["sh", "-c"],
                ['printf "%s %s" "$MODE" "$0" && python -c "$1" "$0" "$MODE"', "{{$.json_escape[1]}}", code],
            )
            container["args"][payload] = json.dumps(job)
        else:
            container["command"], container["args"] = ["true"], []
    done = run_spec(spec, RunOptions(tmp_path / "jobs", tmp_path))
    assert done.state == "SUCCEEDED", Path(done.tasks["train"].log).read_text()
    log = Path(done.tasks["train"].log).read_text()
    assert log.startswith('it\'s "fast" {')
    assert log.endswith("['inputs', 'outputs'] it's \"fast\"\n")


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"DB_PASSWORD": "x"}, "DB_PASSWORD looks like a secret"),
        ({"URL": "https://me:pass@host/"}, "URL looks like a secret"),
        ({"VERTEXAI_STEP": "x"}, "variables that begin with VERTEXAI_ are the platform's own"),
        ({"A B": "x"}, "should match pattern"),
    ],
)
@pytest.mark.parametrize("where", ["run_config", "resources"])
def test_an_environment_variable_that_looks_like_a_secret_is_refused_and_not_shown(env, sentence, where):
    run_config = {"image": "x", **({"env": env} if where == "run_config" else {"resources": {"train": {"env": env}}})}
    with pytest.raises(UserError) as error:
        parse_settings({"run_config": run_config}, "vertexai.yml")
    assert sentence in str(error.value)
    assert "pass@host" not in str(error.value)


@pytest.mark.parametrize(
    ("run_config", "hint"),
    [
        ({"persistent_resource": {"name": "pool", "waits": "1h"}}, "unknown key 'run_config.persistent_resource.waits'. Did you mean 'wait'?"),
        ({"resources": {"train": {"boot_disk": {"sise": 3}}}}, "unknown key 'run_config.resources.train.boot_disk.sise'. Did you mean 'size'?"),
    ],
)  # fmt: skip
def test_a_typo_in_the_keys_of_a_machine_is_named(run_config, hint):
    with pytest.raises(UserError) as error:
        parse_settings({"run_config": {"image": "x", **run_config}}, "vertexai.yml")
    assert hint in str(error.value)


def test_a_step_has_the_variables_of_all_tasks_and_its_own():
    spec = compiled({"env": {"MODE": "slow", "LEVEL": 3}}, env={"MODE": "fast", "PLACE": "here"})

    def variables(name: str) -> dict[str, str]:
        return {
            item["name"]: item["value"]
            for item in spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"].get("env", [])
        }

    assert variables("train") == {"MODE": "slow", "LEVEL": "3", "PLACE": "here"}
    for name in ("load", "mlflow-start-run", "mlflow-finish-run"):
        assert variables(name) == {"MODE": "fast", "PLACE": "here"}
    with pytest.raises(UserError, match=r"Task 'train', --env A: KFP replaces"):
        compiled({"env": {"A": "{{$.pipeline_job_name}}"}})


def test_a_step_that_does_not_fit_into_an_argument_of_the_launcher_is_refused_or_gets_its_data_gathered():
    long = {"spot": True, "env": {"TEXT": "x" * 40_000}}
    with pytest.raises(UserError, match=r"Step 'train' runs as a custom job, whose description takes 39 KiB"):
        compiled(long)
    names = [f"dataset_{number:03}" for number in range(110)]
    nodes = [Node(same, None, names, name="make"), Node(same, names, "end", name="take")]
    for asked, gathering_tasks in (({"cpu": 2}, 0), ({"spot": True}, 2)):
        config = {"root": "gs://bucket/root", "resources": {"take": asked}}
        spec = compile_plan(planned(*nodes, **config), Launch("demo"), RunConfig(image="x", **config))
        assert sum(task.name.startswith(GATHER_PREFIX) for task in tasks(spec)) == gathering_tasks
