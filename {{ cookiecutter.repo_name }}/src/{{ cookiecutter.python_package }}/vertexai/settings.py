"""``vertexai.yml`` as Kedro merged it → typed settings; a key that is not known is an error, not a wish."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    ValidationError,
)  # fmt: skip

from .errors import UserError, did_you_mean

# Resource labels: https://cloud.google.com/vertex-ai/docs/general/labels
_LABEL_KEY = r"[a-z][a-z0-9_-]{0,62}"
_LABEL_VALUE = r"[a-z0-9_-]{0,63}"
# Quantities as KFP takes them: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_CPU = r"^[0-9]+(\.[0-9]+)?$|^[0-9]+m$"
_MEMORY = r"^[0-9]+([EPTGMK]i?)?$"
_DURATION = r"^[1-9][0-9]*[smh]?$"
# Ids of Vertex AI's metadata contexts, which experiments are.
_EXPERIMENT = r"[a-z0-9][a-z0-9-]{0,127}"


def _matching(pattern: str) -> Any:
    return Field(pattern=f"^{pattern}$")


def _none(value: Any) -> Any:
    """kedro-vertexai's files write ``none`` for what is not set."""
    return None if isinstance(value, str) and value.lower() == "none" else value


def _with_scheme(root: str) -> str:
    """kedro-vertexai's files leave a bucket's scheme out. A <placeholder> stays one."""
    return root if "://" in root or root.startswith("<") else f"gs://{root}"


Root = Annotated[str, AfterValidator(_with_scheme)]
Moment = Annotated[AwareDatetime | None, BeforeValidator(_none)]
Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none)]
Labels = dict[Annotated[str, _matching(_LABEL_KEY)], Annotated[str, _matching(_LABEL_VALUE)]]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResourcesConfig(_Settings):
    """What one step asks for; what is left out comes from a less specific entry."""

    cpu: str | None = Field(
        None, pattern=_CPU, coerce_numbers_to_str=True, description="vCPUs, as Kubernetes writes them: 2, 500m"
    )
    memory: str | None = Field(
        None, pattern=_MEMORY, coerce_numbers_to_str=True, description="as Kubernetes writes it: 4Gi, 512M"
    )
    gpu: Annotated[int, Field(ge=0)] | None = Field(None, description="how many GPUs; 1 if only their type is given")
    gpu_type: str | None = Field(None, description="Vertex AI's name of them: NVIDIA_L4")
    retries: Annotated[int, Field(ge=0, le=10)] | None = Field(
        None, description="how often a failed step is tried again"
    )
    timeout: str | None = Field(
        None,
        pattern=_DURATION,
        coerce_numbers_to_str=True,
        description="when a step is stopped: 90s, 30m, 2h",
    )
    image: str | None = Field(None, description="another container image for these steps")


class NodeSelectorConfig(_Settings):
    """An entry of ``run_config.node_selectors``."""

    accelerator: str = Field(alias="cloud.google.com/gke-accelerator", description="the same as resources' gpu_type")


class GroupingConfig(_Settings):
    """``run_config.grouping``."""

    cls: str = Field(default="IdentityNodeGrouper", description="a grouper of vertexai/grouping.py, or your own")
    params: dict[str, Any] = Field(default_factory=dict, description="what its constructor gets")


class HostAliasConfig(_Settings):
    """An entry of ``run_config.network.host_aliases``."""

    ip: IPvAnyAddress = Field(description="address")
    hostnames: list[str] = Field(description="names that steps find there")


class NetworkConfig(_Settings):
    """``run_config.network``."""

    vpc: str | None = Field(default=None, description="VPC to peer with: projects/<number>/global/networks/<name>")
    host_aliases: list[HostAliasConfig] = Field(default_factory=list, description="names that no name server knows")


class ScheduleConfig(_Settings):
    """When a pipeline is launched by itself; an entry of ``run_config.schedules``."""

    cron_expression: str = Field(description="five fields: minute, hour, day of month, month, day of week")
    timezone: str = Field("Etc/UTC", description="name in the IANA time zone database, Europe/Berlin")
    start_time: Moment = Field(None, description="no run before it: 2027-01-01T00:00:00Z")
    end_time: Moment = Field(None, description="no run after it")
    max_run_count: Count = Field(None, description="how many runs in all")
    max_concurrent_run_count: int = Field(1, ge=1, description="how many runs may be started side by side")
    allow_queueing: bool = Field(False, description="whether a run that would be one too many waits, or is left out")
    params: dict[str, Any] = Field(default_factory=dict, description="runtime parameters of these runs, nested")


class MlflowConfig(_Settings):
    """``run_config.mlflow``."""

    request_header_provider_params: dict[str, str] = Field(
        default_factory=dict, description="init_kwargs of the header provider, if they are not in mlflow.yml"
    )


class RunConfig(_Settings):
    """``run_config``: how the pipeline runs."""

    image: str = Field(description="container image of the steps")
    root: Root | None = Field(None, description="pipeline root: where artifacts are kept, gs://bucket/folder")
    description: str | None = Field(None, description="shown beside the pipeline")
    experiment_name: Annotated[str, _matching(_EXPERIMENT)] | None = Field(
        None, description="Vertex AI experiment that jobs are associated with; made when missing"
    )
    experiment_description: str | None = Field(None, description="of that experiment, when it is made")
    scheduled_run_name: str | None = Field(None, description="display name of schedules and of the jobs they launch")
    service_account: str | None = Field(None, description="e-mail of the account that runs the steps")
    network: NetworkConfig = Field(default_factory=NetworkConfig, description="where the steps run")
    encryption_spec_key_name: str | None = Field(
        None, description="customer-managed key: projects/…/locations/…/keyRings/…/cryptoKeys/…"
    )
    labels: Labels = Field(default_factory=dict, description="labels of the jobs, beside those by which they are found")
    schedules: dict[str, ScheduleConfig] = Field(
        default_factory=dict, description="by pipeline name, or default_schedule"
    )
    mlflow: MlflowConfig = Field(
        default_factory=MlflowConfig, description="what the header provider of mlflow.yml is given"
    )
    grouping: GroupingConfig = Field(default=GroupingConfig(), description="which nodes run together")
    resources: dict[str, ResourcesConfig] = Field(
        default_factory=dict, description="by group, node name, node tag, or __default__"
    )
    node_selectors: dict[str, NodeSelectorConfig] = Field(
        default_factory=dict, description="as resources; kedro-vertexai's way to name a GPU type"
    )
    caching: bool | dict[str, bool] = Field(
        False, description="whether results of earlier runs are taken: for all steps, or as resources"
    )
    on_exit_pipeline: str | None = Field(None, description="Kedro pipeline that runs at the end, whatever happened")


class Settings(_Settings):
    """The whole of ``vertexai.yml``."""

    project_id: str | None = Field(None, description="Google Cloud project")
    region: str | None = Field(None, description="Vertex AI region, europe-west1")
    api_endpoint: str | None = Field(
        None, description="URL of the Vertex AI API, if not https://<region>-aiplatform.googleapis.com"
    )
    run_config: RunConfig


def parse_settings(raw: Mapping[str, Any], where: str) -> Settings:
    """Validate the merged ``vertexai.yml``.

    Args:
        raw: the file's content.
        where: the file, for the message.

    Raises:
        UserError: naming every wrong key, with the nearest known one.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [_sentence(problem) for problem in error.errors(include_url=False)]
        raise UserError(f"{where}: " + " ".join(lines)) from None


def _sentence(problem: Any) -> str:
    *parents, last = path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{did_you_mean(last, _known_keys(parents))}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing."
    return f"key '{key}': {problem['msg']}, got {problem['input']!r}."


def _known_keys(parents: list[str]) -> list[str]:
    """The keys allowed below ``parents``, found by walking the models' annotations."""
    model: Any = Settings
    for part in parents:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:  # dict[str, Model] or list[Model]
            model = model.__args__[-1]
    return [field.alias or name for name, field in model.model_fields.items()]
