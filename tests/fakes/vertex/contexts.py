"""Metadata contexts: an experiment, the jobs below it, and the pipelines that these are runs of."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.cloud.aiplatform_v1 import types

from .server import NUMBER, Json, Refusal, parse

if TYPE_CHECKING:
    from . import Vertex


def answer(vertex: "Vertex", method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json) -> Json:
    if method == "POST" and not names:
        vertex.allow("aiplatform.contexts.create")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", query["contextId"]):
            raise Refusal(400, f"context_id '{query['contextId']}' is not valid")
        parse(body, types.Context.pb()())
        name = f"{vertex.parent}/metadataStores/default/contexts/{query['contextId']}"
        if name in vertex.contexts:
            raise Refusal(409, f"The Context already exists: {name}")
        vertex.contexts[name] = {**body, "name": name, "etag": str(next(NUMBER))}
        return vertex.contexts[name]
    name = f"{vertex.parent}/metadataStores/default/contexts/{names[0]}"
    if name not in vertex.contexts:
        raise Refusal(404, f"The Context does not exist: {name}")
    if verb == "addContextChildren":
        vertex.allow("aiplatform.contexts.addContextChildren")
        vertex.contexts[name].setdefault("children", []).extend(body["childContexts"])
        return {}
    return vertex.contexts[name]
