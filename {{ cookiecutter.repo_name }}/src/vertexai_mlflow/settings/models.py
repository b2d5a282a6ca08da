"""The keys of ``vertexai.yml``, as models. An unknown key is an error that names the nearest valid one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, IPvAnyAddress, ValidationError, model_validator

from ..contract.places import is_local
from ..contract.secret_references import parse_reference
from ..errors import UserError, did_you_mean
from .carried_over import REPLACED
from .resources import Duration, Resources, Strict, Variables

# Resource labels: https://cloud.google.com/vertex-ai/docs/general/labels
_LABEL_KEY = r"^[a-z][a-z0-9_-]{0,62}$"
_LABEL_VALUE = r"^[a-z0-9_-]{0,63}$"
# Ids of Vertex AI's metadata contexts, which experiments are.
_EXPERIMENT = r"^[a-z0-9][a-z0-9-]{0,127}$"
# https://cloud.google.com/vpc/docs/about-network-attachments: a name, or a full path.
_NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
_ATTACHMENT = rf"^(projects/[^/]+/regions/[^/]+/networkAttachments/)?{_NAME}"
# As a whole, because a backslash or an @ in an address means other hosts to other libraries.
_ENDPOINT = re.compile(
    r"https://([a-z0-9-]+\.)+googleapis\.com(:\d+)?/?|https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/?"
)
# Of a registered model and its aliases. MLflow allows no slash and no colon, and a quote would end a search.
_MODEL_NAME = r"^[\w .-]*\w[\w .-]*$"
_ALIAS = r"^[A-Za-z_][\w-]*$"
# It becomes a label.
_LAUNCH = r"^[a-z][a-z0-9_-]{0,62}$"
# The entry of schedules for __default__.
DEFAULT_ENTRY = "default_schedule"
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")


def _none_if_unset(value: Any) -> Any:
    """Read ``none``, which kedro-vertexai's files write for what is not set."""
    return None if isinstance(value, str) and value.lower() == "none" else value


Moment = Annotated[AwareDatetime | None, BeforeValidator(_none_if_unset)]
Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_if_unset)]
Labels = dict[Annotated[str, Field(pattern=_LABEL_KEY)], Annotated[str, Field(pattern=_LABEL_VALUE)]]


class NodeSelectorConfig(Strict):
    """An entry of ``run_config.node_selectors``."""

    accelerator: str = Field(alias="cloud.google.com/gke-accelerator", description="the same as resources' gpu_type")


class GroupingConfig(Strict):
    """``run_config.grouping``."""

    cls: str = Field(default="IdentityNodeGrouper", description="a grouper of vertexai_mlflow/grouping.py, or your own")
    params: dict[str, Any] = Field(default={}, description="arguments of its constructor")


class HostAliasConfig(Strict):
    """An entry of ``run_config.network.host_aliases``."""

    ip: IPvAnyAddress = Field(description="address")
    hostnames: list[str] = Field(description="names that the steps find at this address")


class NetworkConfig(Strict):
    """``run_config.network``."""

    vpc: str | None = Field(default=None, description="VPC to peer with: projects/<number>/global/networks/<name>")
    host_aliases: list[HostAliasConfig] = Field(
        default=[], description="host names that no name server knows, with their addresses"
    )


class DnsPeeringConfig(Strict):
    """An entry of ``run_config.psc_interface_config.dns_peering_configs``."""

    domain: str = Field(pattern=r"\.$", description="end of the host names, with a dot at its end: corp.example.")
    target_project: str = Field(description="project whose Cloud DNS knows them")
    target_network: str = Field(description="name of the VPC in that project where they are visible")


class PscInterfaceConfig(Strict):
    """``run_config.psc_interface_config``."""

    network_attachment: str | None = Field(
        default=None, pattern=_ATTACHMENT, description="projects/…/regions/…/networkAttachments/<name>, or the name"
    )
    dns_peering_configs: list[DnsPeeringConfig] = Field(
        default=[], description="private host names that the steps find"
    )


class PersistentResourceConfig(Strict):
    """``run_config.persistent_resource``."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,126}[a-z0-9])?$", description="its id, in this project and region")
    wait: Duration = Field(None, description="how long a task waits for a free machine in it; by default not at all")
    otherwise: Literal["fail", "on_demand"] = Field(
        "fail", description="what a task does then: fail, or take a machine of its own"
    )


class ScheduleConfig(Strict):
    """An entry of ``run_config.schedules``: when Vertex AI launches a pipeline by itself."""

    cron_expression: str = Field(description="five fields: minute, hour, day of month, month, day of week")
    timezone: str = Field("Etc/UTC", description="name in the IANA time zone database, Europe/Berlin")
    start_time: Moment = Field(None, description="no run before this moment: 2027-01-01T00:00:00Z")
    end_time: Moment = Field(None, description="no run after this moment")
    max_run_count: Count = Field(None, description="how many runs in all")
    max_concurrent_run_count: int = Field(1, ge=1, description="how many runs may be active at once")
    allow_queueing: bool = Field(False, description="whether a run beyond that number waits; otherwise it is left out")
    params: dict[str, Any] = Field({}, description="runtime parameters of these runs, nested")


class GateConfig(Strict):
    """``run_config.registry.gate``: what decides whether a version becomes the champion. Without it, a person does."""

    metric: str | None = Field(default=None, description="metric of the job's MLflow run")
    min: float | None = Field(default=None, description="what it must be at least; higher is then better")
    max: float | None = Field(default=None, description="what it may be at most; lower is then better")
    not_worse_than: str | None = Field(
        default=None, pattern=_ALIAS, description="alias of the version whose value must not be better: champion"
    )

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if self.metric is None:
            if self.model_fields_set:
                raise ValueError("name the metric.")
        elif (self.min is None) == (self.max is None):
            raise ValueError(
                "give min, if a higher value is better, or max, if a lower one is. A bound that never bites is "
                "min: -.inf, or max: .inf."
            )
        return self


class RegistryConfig(Strict):
    """``run_config.registry``: the model that becomes a version in MLflow's registry."""

    model: str | None = Field(default=None, description="dataset that kedro-mlflow keeps as a model in the run")
    name: str | None = Field(default=None, pattern=_MODEL_NAME, description="name of the registered model")
    gate: GateConfig = Field(
        default=GateConfig(), description="what decides whether the version becomes the champion; without it, you do"
    )

    @model_validator(mode="after")
    def _names_both(self) -> Self:
        if self.model_fields_set and not (self.model and self.name):
            raise ValueError("name both the model, which is a dataset, and the name under which it is registered.")
        return self


class NotifyConfig(Strict):
    """``run_config.notify``: who hears how a job has ended."""

    on: list[Literal["failure", "recovery", "success"]] = Field(
        default=["failure", "recovery"], description="what to tell; a recovery is the first success after a failure"
    )
    webhook: str | None = Field(
        default=None, description="secret that has the webhook's address: ${gcp.secret:slack-webhook}"
    )
    form: Literal["slack", "google-chat", "json"] = Field(default="json", description="what the receiver understands")

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, values: Any) -> Any:
        """YAML 1.1 reads ``on`` as true."""
        if isinstance(values, Mapping):
            return {"on" if key is True else key: value for key, value in values.items()}
        return values or {}

    @model_validator(mode="after")
    def _names_a_secret(self) -> Self:
        if self.model_fields_set and self.webhook is None:
            raise ValueError("name the secret that has the address: webhook: ${gcp.secret:NAME}")
        # The message does not quote what is there.
        if self.webhook and parse_reference(self.webhook) is None:
            raise ValueError(
                "whoever knows the address of a webhook can write to it, so it must not be in a file. Keep it in "
                "Secret Manager, and write webhook: ${gcp.secret:NAME}"
            )
        return self


class SelectionConfig(Strict):
    """``run_config.launches.*.selection``: which part of the pipeline, by the options of ``kedro run``."""

    from_nodes: list[str] = Field(default=[], description="these nodes and all that follow them")
    to_nodes: list[str] = Field(default=[], description="these nodes and all that they need")
    nodes: list[str] = Field(default=[], description="only these nodes")
    tags: list[str] = Field(default=[], description="only nodes with one of these tags")
    namespaces: list[str] = Field(default=[], description="only nodes in one of these namespaces")
    from_inputs: list[str] = Field(default=[], description="what follows from these datasets")
    to_outputs: list[str] = Field(default=[], description="what these datasets need")

    def as_filter(self) -> dict[str, list[str]]:
        """The arguments of Kedro's ``Pipeline.filter``."""
        names = {"nodes": "node_names", "namespaces": "node_namespaces"}
        return {names.get(name, name): value for name, value in self.model_dump().items() if value}


class LaunchConfig(Strict):
    """An entry of ``run_config.launches``: a job that is launched by its name."""

    pipeline: str = Field("__default__", description="name of its pipeline, or of several: a,b")
    selection: SelectionConfig = Field(SelectionConfig(), description="which part of that")
    params: dict[str, Any] = Field({}, description="its runtime parameters, nested")
    resources: dict[str, Resources] = Field({}, description="entries that replace those of run_config.resources")
    schedule: ScheduleConfig | None = Field(None, description="when Vertex AI launches it by itself")

    @model_validator(mode="after")
    def _has_its_params_once(self) -> Self:
        if self.schedule and self.schedule.params:
            raise ValueError("schedule.params is for entries of run_config.schedules. Move it to params.")
        return self


class MlflowConfig(Strict):
    """``run_config.mlflow``."""

    request_header_provider_params: dict[str, str] = Field(
        default={}, description="init_kwargs of the header provider, if they are not in mlflow.yml"
    )
    system_metrics: bool = Field(
        default=False,
        description="whether MLflow samples CPU, memory, disk, network and GPU of each step, as system/<step>/…",
    )


class RunConfig(Strict):
    """``run_config``: how the pipeline runs."""

    image: str = Field(description="container image of the steps")
    root: str | None = Field(None, description="pipeline root, where artifacts are kept: gs://bucket/folder")
    description: str | None = Field(None, description="text that is shown beside the pipeline")
    experiment_name: Annotated[str, Field(pattern=_EXPERIMENT)] | None = Field(
        None, description="Vertex AI experiment that jobs belong to; it is made when it does not exist"
    )
    experiment_description: str | None = Field(None, description="description of that experiment when it is made")
    scheduled_run_name: str | None = Field(None, description="display name of schedules and of the jobs they launch")
    service_account: str | None = Field(None, description="e-mail of the account that runs the steps")
    network: NetworkConfig = Field(NetworkConfig(), description="the network that the steps run in")
    psc_interface_config: PscInterfaceConfig = Field(
        PscInterfaceConfig(), description="Private Service Connect interface, instead of network.vpc"
    )
    reserved_ip_ranges: list[Annotated[str, Field(pattern=rf"^{_NAME}")]] = Field(
        [], description="names of the IP ranges of network.vpc that the steps run in"
    )
    failure_policy: Literal["fail_slow", "fail_fast"] | None = Field(
        None, description="whether tasks that do not need a failed one still start; they do without this key"
    )
    preflight_validations: bool = Field(False, description="whether Vertex AI validates the components first")
    encryption_spec_key_name: str | None = Field(
        None, description="customer-managed key: projects/…/locations/…/keyRings/…/cryptoKeys/…"
    )
    pipeline_job: dict[str, Any] = Field(
        {}, description="fields of Google's PipelineJob that have no key here, in the REST API's spelling"
    )
    labels: Labels = Field({}, description="your own labels of the jobs")
    schedules: dict[str, ScheduleConfig] = Field({}, description="by pipeline name, or default_schedule")
    launches: dict[Annotated[str, Field(pattern=_LAUNCH)], LaunchConfig] = Field(
        {}, description="jobs that are launched by name: run-once --launch NAME"
    )
    mlflow: MlflowConfig = Field(
        default=MlflowConfig(),
        description="arguments for the header provider of mlflow.yml, and whether steps are measured",
    )
    grouping: GroupingConfig = Field(GroupingConfig(), description="which nodes run together in one step")
    env: Variables = Field({}, description="environment variables of all tasks; no secrets")
    resources: dict[str, Resources] = Field(
        {}, description="by group, node name, pattern of node names, node tag, or __default__"
    )
    persistent_resource: PersistentResourceConfig | None = Field(
        None, description="a persistent resource of Vertex AI, whose machines run all tasks"
    )
    launcher_image: str = Field(
        "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0",
        description="image of Google's launcher of custom jobs, for steps that ask for a machine_type and the like",
    )
    node_selectors: dict[str, NodeSelectorConfig] = Field(
        {}, description="as resources; this is how kedro-vertexai names a GPU type"
    )
    caching: bool | dict[str, bool] = Field(
        False, description="whether results of earlier runs are taken: for all steps, or as resources"
    )
    resolve_once: list[str] | None = Field(
        None, description="custom resolvers whose values the first task hands on to all steps, readable in the console"
    )
    hook_params: list[str] = Field([], description="runtime parameters that no node takes, but hooks read")
    on_exit_pipeline: str | None = Field(
        None, description="Kedro pipeline that runs at the end of a job, whether the job succeeded or failed"
    )
    registry: RegistryConfig = Field(
        RegistryConfig(), description="the model that a job which succeeds registers, and when it becomes the champion"
    )
    notify: NotifyConfig = Field(NotifyConfig(), description="who hears how a job has ended, by a webhook")

    @property
    def schedule_entries(self) -> dict[str, ScheduleConfig]:
        """All that Vertex AI launches by itself: the entries of ``schedules``, and launches that have a schedule."""
        return {**self.schedules, **{name: entry.schedule for name, entry in self.launches.items() if entry.schedule}}

    @property
    def is_remote(self) -> bool:
        """Whether steps run on disks of their own; a ``<gs://placeholder>`` will name a bucket, too."""
        return self.root is not None and not is_local(self.root.lstrip("<"))

    @model_validator(mode="after")
    def _nothing_is_scheduled_twice(self) -> Self:
        pipelines = {"__default__" if name == DEFAULT_ENTRY else name for name in self.schedules}
        for name, launch in self.launches.items():
            if launch.schedule and (launch.pipeline in pipelines or name in self.schedules):
                raise ValueError(
                    f"launches.{name} and schedules both say when {launch.pipeline} runs. Remove one of them."
                )
        return self

    @model_validator(mode="after")
    def _networks_agree(self) -> Self:
        if self.psc_interface_config.network_attachment and self.network.vpc:
            raise ValueError("psc_interface_config and network.vpc exclude each other. Remove one of them.")
        if self.reserved_ip_ranges and not self.network.vpc:
            raise ValueError("reserved_ip_ranges belong to a VPC. Add network.vpc, or remove them.")
        return self


@dataclass(frozen=True)
class Target:
    """Where jobs are launched.

    Args:
        project_id: Google Cloud project.
        region: Vertex AI region.
        api_endpoint: URL of the region's Vertex AI API.
    """

    project_id: str
    region: str
    api_endpoint: str


class UploadedData(Strict):
    """An entry of ``data``: what ``upload-data`` has copied to the bucket."""

    uri: str = Field(description="where the file or folder was copied to")
    sha256: str = Field(description="hash of the file; of a folder, of its files' names and hashes")
    bytes: int = Field(description="size of all its files")
    files: int = Field(description="how many files it has")


class Settings(Strict):
    """The whole of ``vertexai.yml``."""

    project_id: str | None = Field(None, description="Google Cloud project")
    region: str | None = Field(None, description="Vertex AI region, europe-west1")
    api_endpoint: str | None = Field(
        None, description="URL of the Vertex AI API, if it is not https://<region>-aiplatform.googleapis.com"
    )
    run_config: RunConfig
    data: dict[str, UploadedData] = Field(
        {}, description="by path, what upload-data has copied; it writes vertexai_data.yml"
    )

    def target(self, where: str) -> Target:
        """Where these settings launch jobs.

        Args:
            where: their file, for the message.

        Raises:
            UserError: when they have no project or region, or an address that tokens must not be sent to.
        """
        missing = [name for name in ("project_id", "region") if not getattr(self, name)]
        if not self.project_id or not self.region:
            raise UserError(
                f"{where}: {' and '.join(missing)} not set, so this environment has no cloud to ask. "
                "Use one that has: kedro vertexai -e cloud …"
            )
        if not _REGION.fullmatch(self.region):
            raise UserError(f"{where}: region: {self.region} is not the name of a region, such as europe-west1.")
        endpoint = self.api_endpoint or f"https://{self.region}-aiplatform.googleapis.com"
        if not _ENDPOINT.fullmatch(endpoint):
            raise UserError(
                f"{where}: api_endpoint: {endpoint} must be an address of Google such as "
                f"https://{self.region}-aiplatform.googleapis.com, because access tokens are sent to it."
            )
        return Target(self.project_id, self.region, endpoint)


def parse_settings(raw: Mapping[str, Any], where: str) -> Settings:
    """Validate the merged ``vertexai.yml``.

    Args:
        raw: content of the file.
        where: the file, for the message.

    Raises:
        UserError: naming every wrong key, with the nearest known one.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False)]
        raise UserError(f"{where}: " + " ".join(lines)) from None


def _explain(problem: Any) -> str:
    """One of pydantic's errors as a sentence."""
    *parents, last = path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        if parents == ["run_config"] and last in REPLACED:
            return f"key '{key}' of kedro-vertexai has no effect here. Instead, {REPLACED[last]}."
        return f"unknown key '{key}'.{did_you_mean(last, _known_keys(parents))}"
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):  # it is about several of its keys
        return f"{key}: {problem['ctx']['error']}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing."
    # The address of a webhook is a secret, also where it does not belong.
    is_secret = {"webhook", "notify"} & set(path)
    return f"key '{key}': {problem['msg']}" + ("." if is_secret else f", got {problem['input']!r}.")


def _known_keys(parents: list[str]) -> list[str]:
    """The valid keys below ``parents``, by the annotations of the models."""
    model: Any = Settings
    for part in parents:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:  # dict[str, Model] or list[Model]
            model = model.__args__[-1]
        if isinstance(model, UnionType):  # Model | None
            model = model.__args__[0]
    return [field.alias or name for name, field in model.model_fields.items()]
