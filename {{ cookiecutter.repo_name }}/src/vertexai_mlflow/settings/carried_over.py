"""Keys of kedro-vertexai's ``vertexai.yml`` that have no effect here, so that its files can be used as they are."""

from collections.abc import Mapping
from typing import Any

# Key below run_config → why nothing is lost without it.
_MEANINGLESS = {
    "image_pull_policy": "Vertex AI pulls the image for each job",
    "ttl": "Vertex AI keeps jobs, and the bucket's lifecycle rules delete artifacts",
    "run_name": "a job is named after its pipeline and its start time, or by run-once --job-id",
    "volume": "steps pass their data on as artifacts",
}
# Key below run_config → what does the same here. An empty one has no effect.
REPLACED = {
    "wait_for_completion": "give run-once the option --wait-for-completion",
    "dynamic_config_providers": "write ${gcp.id_token:<audience>} or ${gcp.access_token:} into credentials.yml",
}


def without_meaningless_keys(raw: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Leave out the keys whose loss changes nothing.

    Args:
        raw: content of the file.
        where: the file, for the message.

    Returns:
        The content without these keys, and one warning about them if there are any.
    """
    run_config = raw.get("run_config")
    if not isinstance(run_config, Mapping):
        return raw, []
    reasons = {key: reason for key, reason in _MEANINGLESS.items() if key in run_config}
    reasons |= {key: f"empty; {how}" for key, how in REPLACED.items() if key in run_config and not run_config[key]}
    if not reasons:
        return raw, []
    listed = "; ".join(f"{key} ({reason})" for key, reason in reasons.items())
    content = {**raw, "run_config": {key: value for key, value in run_config.items() if key not in reasons}}
    return content, [f"{where}: run_config: these keys of kedro-vertexai have no effect here; remove them: {listed}."]
