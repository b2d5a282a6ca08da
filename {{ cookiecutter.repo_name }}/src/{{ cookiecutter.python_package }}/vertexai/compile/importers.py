"""Uploaded data → KFP importers, which hand it to the steps as artifacts."""

from typing import Any

from kfp.dsl import structures
from kfp.dsl.importer_component import ImporterComponent

from .. import contract
from .raw import RawData

SCHEMA_VERSION = "@0.0.1"  # of artifact types


def import_raw(raw: RawData) -> Any:
    """Add an importer as ``dsl.importer`` does, but with a name of its own; returns the artifact's channel."""
    assert raw.uploaded
    type_ = raw.type + SCHEMA_VERSION
    spec = structures.ComponentSpec(
        name=importer_name(raw),
        implementation=structures.Implementation(
            importer=structures.ImporterSpec(
                artifact_uri="{{$.inputs.parameters['uri']}}",
                schema_title=type_,
                schema_version=SCHEMA_VERSION.removeprefix("@"),
                # The same hash is the same artifact in the lineage of all jobs.
                reimport=False,
                metadata=told_of(raw),
            )
        ),
        inputs={"uri": structures.InputSpec("String")},
        outputs={"artifact": structures.OutputSpec(type_)},
    )
    return ImporterComponent(spec)(uri=raw.uploaded.uri).outputs["artifact"]


def importer_name(raw: RawData) -> str:
    return contract.IMPORT_PREFIX + contract.task_name(raw.key.removeprefix(contract.DATA_PREFIX))


def told_of(raw: RawData) -> dict[str, Any]:
    """What lineage is told about uploaded data."""
    return {"path": raw.place, **(raw.uploaded.model_dump(exclude={"uri"}) if raw.uploaded else {})}
