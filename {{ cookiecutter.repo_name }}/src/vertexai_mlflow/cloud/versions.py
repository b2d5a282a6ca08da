"""Which version of Vertex AI's API a job needs: v1, or v1beta1 for a job that names a persistent resource.

Only v1beta1 has ``runtimeConfig.defaultRuntime``. It is used for such jobs, for schedules that launch them, and for
nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient


@dataclass(frozen=True)
class Version:
    """The messages and clients of one version of the API."""

    types: Any
    pipelines: Any
    schedules: Any


V1 = Version(types, PipelineServiceClient, ScheduleServiceClient)


def needs_beta(job: Mapping[str, Any]) -> bool:
    """Whether a pipeline job, in the JSON of the REST API, has a field that only v1beta1 knows."""
    return "defaultRuntime" in job.get("runtimeConfig", {})


def version_for(job: Mapping[str, Any]) -> Version:
    """The version of the API that a pipeline job, in the JSON of the REST API, needs."""
    return _v1beta1() if needs_beta(job) else V1


@cache
def _v1beta1() -> Version:
    # Not at the top: it takes seconds, and few jobs need it.
    from google.cloud.aiplatform_v1beta1 import types
    from google.cloud.aiplatform_v1beta1.services.pipeline_service import PipelineServiceClient
    from google.cloud.aiplatform_v1beta1.services.schedule_service import ScheduleServiceClient

    return Version(types, PipelineServiceClient, ScheduleServiceClient)
