"""Uploaded data, and what an earlier job has made → KFP importers, which hand it to the steps as artifacts."""

from collections.abc import Mapping
from typing import Any

from kfp.dsl import structures
from kfp.dsl.importer_component import ImporterComponent

from ..contract import names
from .plan import Reused
from .raw import RawData

SCHEMA_VERSION = "@0.0.1"  # of artifact types


def import_raw(raw: RawData) -> Any:
    """Add an importer of uploaded data; returns the artifact's channel."""
    assert raw.uploaded
    return _import(raw.key, raw.type, raw.uploaded.uri, describe(raw))


def import_reused(reused: Reused) -> Any:
    """Add an importer of what an earlier job has made; returns the artifact's channel."""
    return _import(reused.key, reused.type, reused.uri, reused.metadata)


def _import(key: str, type_: str, uri: str, metadata: Mapping[str, Any]) -> Any:
    """Add an importer as ``dsl.importer`` does, but with a name of its own."""
    type_ += SCHEMA_VERSION
    spec = structures.ComponentSpec(
        name=names.importer_name(key),
        implementation=structures.Implementation(
            importer=structures.ImporterSpec(
                artifact_uri="{{$.inputs.parameters['uri']}}",
                schema_title=type_,
                schema_version=SCHEMA_VERSION.removeprefix("@"),
                # The same URI is the same artifact in the lineage of all jobs.
                reimport=False,
                metadata=dict(metadata),
            )
        ),
        inputs={"uri": structures.InputSpec("String")},
        outputs={"artifact": structures.OutputSpec(type_)},
    )
    return ImporterComponent(spec)(uri=uri).outputs["artifact"]


def describe(raw: RawData) -> dict[str, Any]:
    """What lineage is told about uploaded data."""
    return {"path": raw.place, **(raw.uploaded.model_dump(exclude={"uri"}) if raw.uploaded else {})}
