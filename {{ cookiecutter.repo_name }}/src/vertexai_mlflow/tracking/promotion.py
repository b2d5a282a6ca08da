"""A registered version goes from one registry to another as a folder with its hash, and becomes the champion there."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_USER

from ..contract import names
from ..contract.places import REGISTERED_MODEL_META, mismatch, sha256_of_model
from ..errors import UserError, masked
from .registry import champion_of, ensure_registered_model, is_absent, verify, version_with_alias, versions_of

# What a gate has said is about the registry that it has looked into.
_OF_ITS_GATE = (names.GATE_TAG, names.REASON_TAG, names.AGAINST_TAG, names.CROWNED_TAG)


@dataclass(frozen=True)
class Offer:
    """A version that is to be promoted.

    Args:
        store: the address of its MLflow.
        name: the registered model.
        version: its number.
        sha256: the hash of its folder.
        run_id: the run that has made it.
        user: who has launched that.
        tags: its tags.
    """

    store: str
    name: str
    version: str
    sha256: str
    run_id: str
    user: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What tells it from all other versions."""
        return f"{masked(self.store)} {self.name} version {self.version}"


@dataclass(frozen=True)
class Promotion:
    """What became of it: the version there, the champion before it, and whether there was anything to do."""

    name: str
    version: str
    replaced: str
    is_change: bool


def offer(name: str, version: str, folder: str) -> Offer:
    """Look a version up, and download it.

    Args:
        name: the registered model.
        version: its number; empty for the champion.
        folder: where its files go; empty to look only.

    Raises:
        UserError: when there is none, or its files are not those that a job has registered.
    """
    try:
        client, alias = MlflowClient(), names.CHAMPION
        registered = client.get_model_version(name, version) if version else version_with_alias(name, alias)
    except MlflowException as error:
        if not is_absent(error):
            raise
        registered = None
    if registered is None:
        numbers = ", ".join(str(other.version) for other in versions_of(name)) or "none"
        which = f"version {version}" if version else f"version with the alias {names.CHAMPION}"
        raise UserError(f"{masked(mlflow.get_tracking_uri())}: {name} has no {which}. Its versions: {numbers}.")
    number = str(registered.version)
    if not (sha256 := registered.tags.get(names.MODEL_SHA256_TAG, "")):
        raise UserError(
            f"{name} version {number} has no tag {names.MODEL_SHA256_TAG}, so nobody knows which bytes it should have. "
            "Promote a version that a job has registered."
        )
    if folder:
        verify(f"models:/{name}/{number}", sha256, folder)
    user = registered.tags.get(names.PROMOTED_USER_TAG, "")
    if registered.run_id and not user:
        with suppress(MlflowException):  # the run may have been deleted
            user = MlflowClient().get_run(registered.run_id).data.tags.get(MLFLOW_USER, "")
    run_id = registered.run_id or registered.tags.get(names.PROMOTED_RUN_TAG, "")
    return Offer(mlflow.get_tracking_uri(), name, number, sha256, run_id, user, dict(registered.tags))


def accept(name: str, offered: Offer, folder: str, who: str, dry_run: bool) -> Promotion:
    """Make an offered version the champion here. What was done by an attempt that was interrupted is not done again.

    Args:
        name: the registered model here.
        offered: the version.
        folder: where its files are.
        who: who promotes it.
        dry_run: whether to look only.

    Raises:
        UserError: when what arrives has another hash.
    """
    client = MlflowClient()
    version = _find(name, offered)
    replaced = champion_of(name)
    if version and replaced == str(version.version):
        return Promotion(name, replaced, replaced, is_change=False)
    if dry_run:
        return Promotion(name, str(version.version) if version else "", replaced, is_change=True)
    if version is None:
        version = _copy(name, offered) if _is_here(offered) else _upload(name, offered, folder)
    elif name != offered.name and version.tags.get(names.PROMOTED_FROM_TAG) != offered.origin:
        _tag_copy(version, offered)
    number = str(version.version)
    _verify_arrived(name, number, offered.sha256, folder)
    # It may have moved since.
    replaced = champion_of(name)
    for tag, value in ((names.REPLACED_TAG, replaced), (names.PROMOTED_BY_TAG, who)):
        client.set_model_version_tag(name, number, tag, value)
    client.set_registered_model_alias(name, names.CHAMPION, number)
    return Promotion(name, number, replaced, is_change=True)


def take_back(name: str, dry_run: bool) -> Promotion:
    """Put the champion where it was before the last promotion.

    Raises:
        UserError: when the champion was not promoted.
    """
    current = version_with_alias(name, names.CHAMPION)
    replaced = current.tags.get(names.REPLACED_TAG) if current else None
    if current is None or replaced is None:
        raise UserError(f"{name}: its {names.CHAMPION} was not promoted by this command, so there is nothing to undo.")
    number, client = str(current.version), MlflowClient()
    if not dry_run:
        if replaced == "none":
            client.delete_registered_model_alias(name, names.CHAMPION)
        else:
            client.set_registered_model_alias(name, names.CHAMPION, replaced)
        client.delete_model_version_tag(name, number, names.REPLACED_TAG)
    return Promotion(name, replaced, number, is_change=True)


def _is_here(offered: Offer) -> bool:
    return offered.store == mlflow.get_tracking_uri()


def _find(name: str, offered: Offer) -> ModelVersion | None:
    """The version here that is the offered one, or was made of it."""
    if _is_here(offered) and name == offered.name:
        return MlflowClient().get_model_version(name, offered.version)
    source = f"models:/{offered.name}/{offered.version}" if _is_here(offered) else ""
    for version in versions_of(name):
        if version.tags.get(names.PROMOTED_FROM_TAG) == offered.origin or (source and version.source == source):
            return version
    return None


def _tags_of(offered: Offer) -> dict[str, str]:
    origin_tags = {
        names.PROMOTED_FROM_TAG: offered.origin,
        names.PROMOTED_RUN_TAG: offered.run_id,
        names.PROMOTED_USER_TAG: offered.user,
    }
    left_out = (*_OF_ITS_GATE, names.REPLACED_TAG, names.PROMOTED_BY_TAG)
    tags = {
        name: value for name, value in offered.tags.items() if name not in left_out and not name.startswith("mlflow.")
    }
    return {**tags, **{name: value for name, value in origin_tags.items() if value}}


def _copy(name: str, offered: Offer) -> ModelVersion:
    version = MlflowClient().copy_model_version(f"models:/{offered.name}/{offered.version}", name)
    _tag_copy(version, offered)
    return version


def _tag_copy(version: ModelVersion, offered: Offer) -> None:
    client, tags = MlflowClient(), _tags_of(offered)
    for tag in version.tags.keys() - tags.keys():
        client.delete_model_version_tag(version.name, version.version, tag)
    for tag, value in tags.items():
        client.set_model_version_tag(version.name, version.version, tag, value)


def _upload(name: str, offered: Offer, folder: str) -> ModelVersion:
    path = Path(folder)
    (path / REGISTERED_MODEL_META).unlink(missing_ok=True)
    if (actual := sha256_of_model(path)) != offered.sha256:
        raise UserError(mismatch(f"The folder of {offered.origin}", actual, offered.sha256))
    client, tags = MlflowClient(), _tags_of(offered)
    ensure_registered_model(name)
    # MLflow allows less in such a name than in that of a registered model.
    model = mlflow.initialize_logged_model(
        name=re.sub(r"[^\w-]", "_", name), tags={names.PROMOTED_FROM_TAG: offered.origin}
    )
    try:
        client.log_model_artifacts(model.model_id, folder)
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    uri = f"models:/{model.model_id}"
    tags[names.MODEL_URI_TAG] = uri
    return client.create_model_version(name, source=uri, tags=tags, model_id=model.model_id)


def _verify_arrived(name: str, number: str, sha256: str, folder: str) -> None:
    trial = Path(folder).parent / "arrived"
    trial.mkdir(exist_ok=True)
    verify(f"models:/{name}/{number}", sha256, str(trial))
