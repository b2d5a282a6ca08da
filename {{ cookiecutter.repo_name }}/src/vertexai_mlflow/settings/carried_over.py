"""Keys of kedro-vertexai's ``vertexai.yml`` that this project has no use for, so that its files can be carried over."""

from collections.abc import Mapping
from typing import Any

# Key below run_config → why nothing is lost without it.
_MEANINGLESS = {
    "image_pull_policy": "Vertex AI pulls the image for each job",
    "ttl": "Vertex AI keeps jobs, and the bucket's lifecycle rules end artifacts",
    "run_name": "a job is named after its pipeline and the moment, or by run-once --job-id",
    "volume": "steps hand on their data as artifacts",
}
# Key below run_config → what does the same here. It means nothing as long as it is empty.
REPLACED = {
    "wait_for_completion": "give run-once the option --wait-for-completion",
    "dynamic_config_providers": "write ${gcp.id_token:<audience>} or ${gcp.access_token:} into credentials.yml",
}


def without_meaningless_keys(raw: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Leave out the keys that nothing is lost without.

    Args:
        raw: content of the file.
        where: the file, for the message.

    Returns:
        The content without these keys, and what to say about them, once for all.
    """
    run_config = raw.get("run_config")
    if not isinstance(run_config, Mapping):
        return raw, []
    found = {key: why for key, why in _MEANINGLESS.items() if key in run_config}
    found |= {key: f"empty; {how}" for key, how in REPLACED.items() if key in run_config and not run_config[key]}
    if not found:
        return raw, []
    said = "; ".join(f"{key} ({why})" for key, why in found.items())
    kept = {**raw, "run_config": {key: value for key, value in run_config.items() if key not in found}}
    return kept, [f"{where}: run_config: delete these lines, which mean nothing here: {said}."]
