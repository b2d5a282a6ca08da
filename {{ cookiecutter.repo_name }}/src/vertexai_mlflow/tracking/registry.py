"""The model of a job becomes a version in MLflow's registry, and a gate decides whether it becomes the champion."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from ..contract import names
from ..contract.job import JobIdentity
from ..contract.places import MODEL_SCHEMES, mismatch, sha256_of_model
from ..errors import UserError
from . import find_run, write_tags

# Jobs whose versions were made within so many milliseconds of each other may decide about the champion at once.
_AT_ONCE = 10 * 60 * 1000
# How often a job looks again whether another one has moved the champion in the meantime.
_ROUNDS = 10
# What MLflow allows in the name of a tag.
_NOT_IN_TAGS = re.compile(r"[^/\w.\- :]")


@dataclass(frozen=True)
class Model:
    """A model that a step has logged.

    Args:
        uri: its address in MLflow.
        sha256: the hash of its folder, as the step has recorded it.
        step: the step.
    """

    uri: str
    sha256: str
    step: str

    def as_tag(self, dataset: str) -> dict[str, str]:
        """Name and value of the run's tag about it."""
        return {names.model_tag(dataset): json.dumps({"uri": self.uri, "sha256": self.sha256, "step": self.step})}


@dataclass(frozen=True)
class Verdict:
    """What a gate says: whether it holds, and why."""

    holds: bool
    reason: str


def register(job: JobIdentity, registry: Mapping[str, Any]) -> str:
    """Make the model of a job that has succeeded a version, once, and let its gate decide about the champion.

    Args:
        job: the pipeline job.
        registry: ``run_config.registry``.

    Returns:
        What the run says about it; empty if the job has no run.

    Raises:
        UserError: when the model is not what its step has logged.
    """
    if (run := find_run(job)) is None:
        return ""
    name, dataset = registry["name"], registry["model"]
    model, runs = _model_of(job, run, dataset)
    if model is None:
        text = f"{name}: no version, because no step of this job has logged the model '{dataset}'"
        write_tags(run.info.run_id, {names.REGISTRY_TAG: text})
        return text
    version = _version_of(name, model) or _new_version(name, model, run, runs)
    _move_forward(name, names.CANDIDATE, version)
    text = f"{name} version {version.version}"
    if gate := registry.get("gate"):
        text += f", {_decide(name, version, run, gate)}"
    write_tags(run.info.run_id, {names.REGISTRY_TAG: text})
    return text


def verify(uri: str, sha256: str, folder: str) -> Path:
    """Download a model into a folder and compare it with its hash.

    Raises:
        UserError: when it is another one.
    """
    path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
    if (actual := sha256_of_model(path)) != sha256:
        raise UserError(mismatch(f"The model {uri}", actual, sha256))
    return path


def version_with_alias(name: str, alias: str) -> ModelVersion | None:
    """The version that has an alias; None if there is none, or no such model."""
    try:
        return MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if not is_absent(error):
            raise
        return None


def champion_of(name: str) -> str:
    """The number of the version that is the champion; ``none`` if there is none."""
    champion = version_with_alias(name, names.CHAMPION)
    return str(champion.version) if champion else "none"


def is_absent(error: MlflowException) -> bool:
    """Whether MLflow says that there is no such model, version or alias; otherwise nobody knows whether there is."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def versions_of(name: str) -> Iterator[ModelVersion]:
    """All versions of a registered model, newest first."""
    token = None
    while True:
        page = MlflowClient().search_model_versions(
            f"name = '{name}'", order_by=["version_number DESC"], page_token=token
        )
        yield from page
        if not (token := page.token):
            return


def ensure_registered_model(name: str) -> None:
    """Create a registered model if there is none of this name."""
    try:
        MlflowClient().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _model_of(job: JobIdentity, run: Run, dataset: str) -> tuple[Model | None, list[Run]]:
    """The model of a job, and the runs that its results come from: its own, and those whose steps it has taken."""
    tag, runs = names.model_tag(dataset), [run]
    model = _read(run, tag)
    for name, origin in run.data.tags.items():
        if not name.startswith(names.REUSED_TAG) or (earlier := _run_of(job, origin)) is None:
            continue
        runs.append(earlier)
        model_of_step = _read(earlier, tag)
        if model is None and model_of_step and model_of_step.step == name.removeprefix(names.REUSED_TAG):
            model = model_of_step
    return model, runs


def _read(run: Run, tag: str) -> Model | None:
    try:
        model = Model(**json.loads(run.data.tags.get(tag, "")))
    except (TypeError, ValueError):  # there is none, or somebody has written something else there
        return None
    return model if model.uri.startswith(MODEL_SCHEMES) else None


def _run_of(job: JobIdentity, name: str) -> Run | None:
    """The run of another job of the same project and region, or of the same machine."""
    resource = f"{job.resource_name.rpartition('/')[0]}/{name}" if job.resource_name else ""
    return find_run(JobIdentity(name, resource_name=resource))


def _version_of(name: str, model: Model) -> ModelVersion | None:
    """The version that this very model has become already: the exit task is retried, or the job was resumed."""
    return next((version for version in versions_of(name) if version.tags.get(names.MODEL_URI_TAG) == model.uri), None)


def _new_version(name: str, model: Model, run: Run, runs: list[Run]) -> ModelVersion:
    with TemporaryDirectory() as folder:
        verify(model.uri, model.sha256, folder)
    tags = run.data.tags
    facts = {
        names.MODEL_URI_TAG: model.uri,
        names.MODEL_SHA256_TAG: model.sha256,
        names.MODEL_STEP_TAG: model.step,
        "commit": tags.get(MLFLOW_GIT_COMMIT, ""),
        **{tag: tags.get(tag, "") for tag in (names.JOB_NAME_TAG, names.JOB_URL_TAG, names.IMAGE_TAG, names.CODE_TAG)},
    }
    for source in reversed(runs):
        for item in source.inputs.dataset_inputs if source.inputs else ():
            facts[f"data.{_NOT_IN_TAGS.sub('_', item.dataset.name)}"] = item.dataset.digest
    ensure_registered_model(name)
    return MlflowClient().create_model_version(
        name,
        source=model.uri,
        run_id=run.info.run_id,
        tags={key: value for key, value in facts.items() if value},
        model_id=model.uri.rpartition("/")[2] if model.uri.startswith("models:/m-") else None,
    )


def _move_forward(name: str, alias: str, version: ModelVersion) -> None:
    """Give an alias to a version, unless a newer one has it: a retried task does not take it back."""
    current = version_with_alias(name, alias)
    if current is None or int(current.version) < int(version.version):
        MlflowClient().set_registered_model_alias(name, alias, version.version)


def _decide(name: str, version: ModelVersion, run: Run, gate: Mapping[str, Any]) -> str:
    """Let the gate decide once, write its verdict on the version, and move the champion if it holds."""
    client, tags = MlflowClient(), version.tags
    if names.GATE_TAG not in tags:
        champion = champion_of(name)
        verdict = judge(name, run, gate)
        tags = {
            names.METRIC_TAG: gate["metric"],
            names.VALUE_TAG: str(run.data.metrics.get(gate["metric"], "")),
            names.AGAINST_TAG: champion,
            names.REASON_TAG: verdict.reason,
            names.GATE_TAG: "passed" if verdict.holds else "missed",  # last, because the others count when it is there
        }
        for tag, value in tags.items():
            if value:
                client.set_model_version_tag(name, version.version, tag, value)
    text = f"gate {tags[names.GATE_TAG]}: {tags.get(names.REASON_TAG, '')}"
    if tags[names.GATE_TAG] != "passed":
        return text
    if names.CROWNED_TAG in version.tags:
        champion_now = champion_of(name)
    else:
        champion_now = _crown(name, version, tags.get(names.AGAINST_TAG, ""), gate)
        if champion_now == str(version.version):
            # So that a retry, or a job that resumes this one, does not undo what somebody has chosen since.
            client.set_model_version_tag(name, version.version, names.CROWNED_TAG, "true")
    if champion_now == str(version.version):
        return f"{text}, {names.CHAMPION}"
    return f"{text}; {names.CHAMPION} is version {champion_now}, which was registered or chosen in the meantime"


def judge(name: str, run: Run, gate: Mapping[str, Any]) -> Verdict:
    """Compare a run's metric with its bound, and with that of the version that has the alias ``not_worse_than``.

    An equal value is not worse. A metric that is missing, or is not a number, does not hold. Without a version that has
    the alias, as before the first one, the bound alone decides.

    Args:
        name: the registered model.
        run: the job's run.
        gate: ``run_config.registry.gate``.
    """
    metric, alias = gate["metric"], gate.get("not_worse_than")
    value = run.data.metrics.get(metric, math.nan)
    if math.isnan(value):
        metric_names = ", ".join(sorted(run.data.metrics)) or "none"
        return Verdict(False, f"the run has no number as metric {metric} (it has: {metric_names})")
    higher_is_better = gate.get("min") is not None
    bound = gate["min"] if higher_is_better else gate["max"]
    relation = "at least" if higher_is_better else "at most"
    if not (value >= bound if higher_is_better else value <= bound):
        return Verdict(False, f"{metric} {value:g} is not {relation} {bound:g}")
    reason = f"{metric} {value:g} is {relation} {bound:g}"
    if not alias:
        return Verdict(True, reason)
    if (other := version_with_alias(name, alias)) is None:
        return Verdict(True, f"{reason}, and no version has the alias {alias} yet")
    other_value = _value_of(other, metric)
    whose = f"version {other.version} ({alias})"
    if math.isnan(other_value):
        return Verdict(False, f"{reason}, but {whose} has no number as metric {metric} to compare with")
    is_worse = value < other_value if higher_is_better else value > other_value
    relation = "worse" if is_worse else "not worse"
    return Verdict(
        not is_worse, f"{reason}{', but' if is_worse else ' and'} {relation} than {other_value:g} of {whose}"
    )


def _value_of(version: ModelVersion, metric: str) -> float:
    """A version's metric: as its own gate has seen it, or else as its run has it; NaN if nobody knows."""
    if version.tags.get(names.METRIC_TAG) == metric:
        with suppress(ValueError):
            return float(version.tags.get(names.VALUE_TAG, ""))
    with suppress(MlflowException):
        return float(MlflowClient().get_run(version.run_id).data.metrics.get(metric, math.nan))
    return math.nan


def _crown(name: str, version: ModelVersion, against: str, gate: Mapping[str, Any]) -> str:
    """Move the champion to this version, or to a better one that has passed the gate at the same time.

    MLflow has no compare-and-set, so two jobs may both see the same champion. Each writes its verdict first, and looks
    again after it has moved the alias, so that the last one to look finds both.

    Returns:
        The version that is the champion now.
    """
    sign = 1 if gate.get("min") is not None else -1
    compares = bool(gate.get("not_worse_than"))

    def rank(rival: ModelVersion) -> tuple[float, int]:
        value = _value_of(rival, gate["metric"]) if compares else 0.0
        return (sign * value, int(rival.version))

    champion = ""
    for _ in range(_ROUNDS):
        rivals = [
            rival
            for rival in versions_of(name)
            if rival.tags.get(names.GATE_TAG) == "passed"
            and rival.tags.get(names.AGAINST_TAG) == against
            and abs(rival.creation_timestamp - version.creation_timestamp) <= _AT_ONCE
        ]
        current = version_with_alias(name, names.CHAMPION)
        champion = str(current.version) if current else ""
        best = str(max(rivals, key=rank).version)
        # Somebody may have chosen another champion since the gate has decided.
        ours = {"" if against == "none" else against, *(str(rival.version) for rival in rivals)}
        if champion == best or champion not in ours:
            break
        MlflowClient().set_registered_model_alias(name, names.CHAMPION, best)
    return champion
