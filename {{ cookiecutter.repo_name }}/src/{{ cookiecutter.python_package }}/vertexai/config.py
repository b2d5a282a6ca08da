"""``vertexai.yml`` as Kedro merged it → typed settings; a key that is not known is an error, not a wish."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import UserError, did_you_mean


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResourcesConfig(_Settings):
    """What one step asks for; what is left out comes from a less specific entry."""

    cpu: str | None = Field(None, coerce_numbers_to_str=True, description="vCPUs, as Kubernetes writes them: 2, 500m")
    memory: str | None = Field(None, coerce_numbers_to_str=True, description="as Kubernetes writes it: 4Gi, 512M")


class MlflowConfig(_Settings):
    """``run_config.mlflow``."""

    request_header_provider_params: dict[str, str] = Field(
        default_factory=dict, description="init_kwargs of the header provider, if they are not in mlflow.yml"
    )


class RunConfig(_Settings):
    """``run_config``: how the pipeline runs."""

    image: str = Field(description="container image of the steps")
    root: str | None = Field(None, description="pipeline root: where artifacts are kept, gs://bucket/folder")
    description: str | None = Field(None, description="shown beside the pipeline")
    service_account: str | None = Field(None, description="e-mail of the account that runs the steps")
    mlflow: MlflowConfig = Field(MlflowConfig(), description="what the header provider of mlflow.yml is given")
    resources: dict[str, ResourcesConfig] = Field(
        default_factory=dict, description="by node name, node tag, or __default__"
    )


class Settings(_Settings):
    """The whole of ``vertexai.yml``."""

    project_id: str | None = Field(None, description="Google Cloud project")
    region: str | None = Field(None, description="Vertex AI region, europe-west1")
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
        raise UserError(f"{where}: " + "; ".join(lines)) from None


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
        else:  # dict[str, Model]
            model = model.__args__[1]
    return list(model.model_fields)
