"""Promotion between two of MLflow's stores, and within one."""

import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from registered_model import register_model

from vertexai_mlflow.contract import names
from vertexai_mlflow.contract.places import sha256_of_model
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.tracking.promotion import Offer, accept, offer, take_back

pytestmark = pytest.mark.slow

Use = Callable[[str], None]


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Two empty stores, each with an experiment."""
    folder = tmp_path_factory.mktemp("stores")
    uris = {}
    for name in ("staging", "prod"):
        uris[name] = f"sqlite:///{folder}/{name}.db"
        mlflow.set_tracking_uri(uris[name])
        mlflow.create_experiment("demo", artifact_location=(folder / name).as_uri())
    yield uris
    mlflow.set_tracking_uri(None)


@pytest.fixture
def use(stores) -> Use:
    def use(name: str) -> None:
        mlflow.set_tracking_uri(stores[name])
        mlflow.set_experiment("demo")

    use("staging")
    return use


@pytest.fixture
def name(request) -> str:
    return request.node.name


def champion(name: str) -> str:
    return str(MlflowClient().get_registered_model(name).aliases.get(names.CHAMPION, ""))


def count(name: str) -> int:
    return len(MlflowClient().search_model_versions(f"name = '{name}'"))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def test_a_version_arrives_with_its_bytes_and_where_it_comes_from(use, name, folder, tmp_path):
    number = register_model(name, "first", tmp_path)
    offered = offer(name, number, str(folder))
    assert (offered.user, offered.tags[names.JOB_NAME_TAG]) == ("ada", "demo-1")
    use("prod")
    assert accept(f"{name}-prod", offered, str(folder), "grace", dry_run=True).is_change
    with pytest.raises(mlflow.MlflowException):
        MlflowClient().get_registered_model(f"{name}-prod")

    promotion = accept(f"{name}-prod", offered, str(folder), "grace", dry_run=False)
    assert (promotion.version, promotion.replaced) == ("1", "none")
    (version,) = MlflowClient().search_model_versions(f"name = '{name}-prod'")
    assert version.tags[names.PROMOTED_BY_TAG] == "grace"
    assert version.tags[names.PROMOTED_RUN_TAG] == offered.run_id
    assert version.tags[names.VALUE_TAG] == "0.9"
    assert names.GATE_TAG not in version.tags
    arrived = mlflow.artifacts.download_artifacts(f"models:/{name}-prod@champion", dst_path=str(tmp_path / "model"))
    assert sha256_of_model(arrived) == offered.sha256

    again = accept(f"{name}-prod", offered, str(folder), "grace", dry_run=False)
    assert (again.is_change, count(f"{name}-prod")) == (False, 1)


@pytest.mark.parametrize("after", ["the upload", "the version", "the tags"])
def test_a_promotion_that_was_interrupted_is_repeated(use, name, folder, tmp_path, monkeypatch, after):
    name = "".join(letter for letter in name if letter.isalnum())
    number = register_model(name, "first", tmp_path)
    offered = offer(name, number, str(folder))
    use("prod")
    broken = {
        "the upload": "finalize_logged_model",
        "the version": "set_model_version_tag",
        "the tags": "set_registered_model_alias",
    }[after]

    def interrupt(*_arguments: object, **_keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, broken, interrupt)
        with pytest.raises(KeyboardInterrupt):
            accept(name, offered, str(folder), "grace", dry_run=False)
    promotion = accept(name, offered, str(folder), "grace", dry_run=False)
    assert (promotion.replaced, count(name), champion(name)) == ("none", 1, "1")


def test_an_undone_promotion_puts_the_alias_where_it_was(use, name, folder, tmp_path):
    use("prod")
    register_model(name, "old", tmp_path)
    MlflowClient().set_registered_model_alias(name, names.CHAMPION, "1")
    use("staging")
    offered = offer(name, register_model(name, "new", tmp_path), str(folder))
    use("prod")
    accept(name, offered, str(folder), "grace", dry_run=False)
    assert champion(name) == "2"
    take_back(name, dry_run=True)
    assert champion(name) == "2"
    promotion = take_back(name, dry_run=False)
    assert (promotion.version, promotion.replaced, champion(name)) == ("1", "2", "1")
    with pytest.raises(UserError, match="nothing to undo"):
        take_back(name, dry_run=False)
    assert accept(name, offered, str(folder), "grace", dry_run=False).version == "2"


def test_the_first_promotion_is_undone_to_no_champion(use, name, folder, tmp_path):
    offered = offer(name, register_model(name, "first", tmp_path), str(folder))
    use("prod")
    accept(name, offered, str(folder), "grace", dry_run=False)
    take_back(name, dry_run=False)
    assert champion(name) == ""


def test_within_one_registry_a_version_is_copied_to_another_model(use, name, folder, tmp_path):
    offered = offer(name, register_model(name, "first", tmp_path), str(folder))
    for _ in range(2):
        accept(f"{name}-prod", offered, str(folder), "grace", dry_run=False)
    (version,) = MlflowClient().search_model_versions(f"name = '{name}-prod'")
    assert version.source == f"models:/{name}/1"
    assert names.GATE_TAG not in version.tags
    assert champion(f"{name}-prod") == "1"


def test_a_copy_whose_tags_are_missing_gets_them_by_the_next_attempt(use, name, folder, tmp_path, monkeypatch):
    offered = offer(name, register_model(name, "first", tmp_path), str(folder))

    def interrupt(*_arguments: object, **_keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_model_version_tag", interrupt)
        patch.setattr(MlflowClient, "set_model_version_tag", interrupt)
        with pytest.raises(KeyboardInterrupt):
            accept(f"{name}-prod", offered, str(folder), "grace", dry_run=False)
    accept(f"{name}-prod", offered, str(folder), "grace", dry_run=False)
    (version,) = MlflowClient().search_model_versions(f"name = '{name}-prod'")
    assert version.tags[names.PROMOTED_FROM_TAG] == offered.origin
    assert names.GATE_TAG not in version.tags


def test_names_may_have_dots_and_a_run_may_be_gone(use, name, folder, tmp_path):
    name = f"{name}.v2"
    number = register_model(name, "first", tmp_path)
    MlflowClient().delete_run(MlflowClient().get_model_version(name, number).run_id)
    store = mlflow.get_tracking_uri().removeprefix("sqlite:///")
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("DELETE FROM tags")
        database.execute("DELETE FROM runs")
    offered = offer(name, number, str(folder))
    assert offered.user == ""
    use("prod")
    accept(name, offered, str(folder), "grace", dry_run=False)
    assert champion(name) == "1"


def test_within_one_model_only_the_alias_moves(use, name, folder, tmp_path):
    for text in ("first", "second"):
        number = register_model(name, text, tmp_path)
    offered = offer(name, number, str(folder))
    assert accept(name, offered, str(folder), "grace", dry_run=False).version == "2"
    assert (count(name), champion(name)) == (2, "2")


@pytest.mark.parametrize("version", ["7", ""])
def test_a_version_that_is_not_there_is_named(use, version, tmp_path):
    name = f"missing{version}"
    register_model(name, "first", tmp_path)
    with pytest.raises(UserError, match=r"Its versions: 1\."):
        offer(name, version, "")


def test_bytes_that_were_replaced_do_not_leave_their_registry(use, name, folder, tmp_path):
    number = register_model(name, "first", tmp_path)
    model = MlflowClient().get_logged_model(MlflowClient().get_model_version(name, "1").source.rpartition("/")[2])
    (Path(LocalArtifactRepository(model.artifact_location).artifact_dir) / "model.bin").write_text("somebody else's")
    with pytest.raises(UserError, match="does not match its recorded SHA-256"):
        offer(name, number, str(folder))


def test_bytes_that_change_on_the_way_become_no_version(use, name, folder, tmp_path):
    offered = offer(name, register_model(name, "first", tmp_path), str(folder))
    shutil.copy(folder / "MLmodel", folder / "model.bin")
    use("prod")
    with pytest.raises(UserError, match="does not match its recorded SHA-256"):
        accept(name, offered, str(folder), "grace", dry_run=False)
    assert count(name) == 0


def test_an_offer_travels_between_processes(use, name, tmp_path):
    offered = offer(name, register_model(name, "first", tmp_path), "")
    assert pickle.loads(pickle.dumps(offered)) == offered
    assert isinstance(offered, Offer)
