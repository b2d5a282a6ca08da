"""YAML of the project → the same text with a few words changed. Comments, order and all else stay as they are."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from .changes import Change
from .kedro1 import GONE, OLD_PACKAGE, TYPES

# Keys of kedro-vertexai's run_config that mean nothing here.
WITHOUT_MEANING = {"image_pull_policy", "ttl", "run_name", "volume", "wait_for_completion", "dynamic_config_providers"}
# What kedro-mlflow reads of mlflow.yml.
_MLFLOW_KEYS = {"server", "tracking", "ui"}
# Where MLflow 3 keeps nothing any more: kedro-mlflow's old default, and its folder.
_FILE_STORE = re.compile(r"|null|~|mlruns/?|file:.*")
_EMBEDDED = '${oc.env:MLFLOW_TRACKING_URI, "sqlite:///mlflow.db"}'
# An edit: where the old text begins and ends, the new text, and the words for the plan.
Edit = tuple[int, int, str, str]
_PLUGIN = "kedro_vertexai.grouping."


def edit_catalog(text: str, own: set[str]) -> Change:
    """Write the types of datasets, and what else has another spelling now, as Kedro 1 and its plugins do.

    Args:
        text: a file of the catalog.
        own: the project's own modules, whose classes keep their names.
    """
    change = Change(text)
    root = _composed(text, change)
    edits: dict[int, Edit] = {}
    for _, entry in _items(root):
        for edit in _entry(entry, own, change, top=True):
            edits[edit[0]] = edit
    return _edited(change, list(edits.values()))


def edit_vertexai(text: str) -> Change:
    """Carry over a vertexai.yml of kedro-vertexai."""
    change = Change(text)
    edits: list[Edit] = []
    root = _composed(text, change)
    run_config = next((value for key, value in _items(root) if key.value == "run_config"), None)
    for key, value in _items(run_config):
        if key.value in WITHOUT_MEANING:
            edits.append(_commented(text, key, value))
            if lost := _LOST.get(key.value):
                change.left.append((key.start_mark.line + 1, f"{key.value} is a comment now. {lost}"))
        elif key.value == "schedules":
            message = "`make schedule`, which CI calls after a launch, makes these on Vertex AI. Keep what you want."
            change.left.append((key.start_mark.line + 1, f"schedules: {message}"))
    grouping = next((value for key, value in _items(run_config) if key.value == "grouping"), None)
    for key, value in _items(grouping):
        if key.value == "cls" and isinstance(value, ScalarNode) and value.value.startswith(_PLUGIN):
            edits.append(_replacing(value, value.value.removeprefix(_PLUGIN)))
    return _edited(change, edits)


# What deleting one of the old keys loses.
_LOST = {
    "dynamic_config_providers": "The resolvers gcp.id_token and gcp.access_token do what it did, in credentials.yml.",
    "run_name": "The job's name begins with the pipeline's name; scheduled_run_name names what schedules launch.",
}


def edit_mlflow(text: str, providers: str) -> Change:
    """Carry over an mlflow.yml: its header providers, and a store that MLflow 3 does not have.

    Args:
        text: the file.
        providers: the package of the project's header providers, which have the names of kedro-vertexai's.
    """
    change = Change(text)
    edits: list[Edit] = []
    for match in re.finditer(r"\bkedro_vertexai\.auth\.", text):
        edits.append((*match.span(), f"{providers}.", f"kedro_vertexai.auth → {providers}"))
    root = _composed(text, change)
    if root is not None and not _MLFLOW_KEYS.intersection(key.value for key, _ in _items(root)):
        message = (
            "this is not what kedro-mlflow 2 reads, which is server, tracking and ui. Write these, or rename the file."
        )
        change.left.append((1, f"{message} https://kedro-mlflow.readthedocs.io"))
    server = next((value for key, value in _items(root) if key.value == "server"), None)
    for key, value in _items(server):
        is_store = key.value == "mlflow_tracking_uri" and isinstance(value, ScalarNode)
        if is_store and isinstance(value, ScalarNode) and _FILE_STORE.fullmatch(value.value):
            words = (
                f"mlflow_tracking_uri: {value.value or 'null'} → {_EMBEDDED}, because MLflow 3 keeps no runs in files"
            )
            space = "" if value.value else " "
            edits.append((value.start_mark.index, value.end_mark.index, space + _EMBEDDED, words))
    return _edited(change, edits)


def look_at_logging(text: str) -> Change:
    """Name what Kedro 1.7 refuses in a logging.yml, at the start of every command."""
    change = Change(text)
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"[^#]*[\"'](\(\))[\"']\s*:|\s*\(\)\s*:", line):
            change.left.append((number, "Kedro 1.7 refuses `()` here. Name a handler, formatter or filter by `class`."))
    return change


def facts(text: str) -> dict[str, str]:
    """Return what a vertexai.yml or mlflow.yml says about the cloud, as answers to the template's questions."""
    try:
        content: Any = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return {}
    run_config, server = content.get("run_config") or {}, content.get("server") or {}
    arguments = (run_config.get("mlflow") or {}).get("request_header_provider_params") or {}
    arguments |= (server.get("request_header_provider") or {}).get("init_kwargs") or {}
    uri, account = str(server.get("mlflow_tracking_uri") or ""), arguments.get("service_account")
    image, root = str(run_config.get("image") or ""), str(run_config.get("root") or "")
    found = {
        "gcp_project_id": content.get("project_id"),
        "gcp_region": content.get("region"),
        "gcp_bucket": root if root.startswith("gs://") or not root else f"gs://{root}",
        "artifact_registry": image.rpartition("/")[0] if "-docker.pkg.dev/" in image else "",
        "repo_name": image.rpartition("/")[2].partition(":")[0],
        "mlflow_tracking_uri": uri if uri.startswith("https://") else "",
        "service_account": run_config.get("service_account") or account,
        "client_id": arguments.get("client_id"),
    }
    return {name: str(value) for name, value in found.items() if value and not re.search(r"[<{$\s]", str(value))}


def _entry(entry: Node, own: set[str], change: Change, *, top: bool) -> Iterator[Edit]:
    """Find what to write differently in an entry of the catalog, and in the datasets that it has inside."""
    names = {key.value for key, _ in _items(entry)}
    for key, value in _items(entry):
        if key.value == "data_set":
            yield _replacing(key, "dataset")
        if key.value in ("type", "dataset", "data_set") and isinstance(value, ScalarNode):
            yield from _type(value, own, change)
        elif key.value in ("dataset", "data_set"):
            yield from _entry(value, own, change, top=False)
        elif key.value == "layer" and top:
            if "metadata" in names:
                said = "layer: move it to metadata, as `kedro-viz: {layer: …}`; datasets take no layer any more."
                change.left.append((key.start_mark.line + 1, said))
            else:
                new = f"metadata: {{kedro-viz: {{layer: {value.value}}}}}"
                yield key.start_mark.index, value.end_mark.index, new, f"layer: {value.value} → {new}"


def _type(value: ScalarNode, own: set[str], change: Change) -> Iterator[Edit]:
    old = value.value.removeprefix(OLD_PACKAGE)
    shown = old.removeprefix("kedro_datasets.")
    if instead := GONE.get(shown):
        change.left.append((value.start_mark.line + 1, f"{value.value} is gone: use {instead}."))
        return
    parts = old.split(".")
    if parts[0] in own or (len(parts) > 2 and not old.startswith("kedro")):
        return
    new = TYPES.get(old) or TYPES.get(shown) or re.sub(r"DataSet$", "Dataset", old)
    if new != value.value:
        yield _replacing(value, new)


def _composed(text: str, change: Change) -> Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = "this is no YAML. If it has Jinja in it, write dataset factories instead, which Kedro 1 has for that."
        change.left.append((mark.line + 1 if mark else 0, said))
        return None


def _items(node: Node | None) -> list[tuple[ScalarNode, Node]]:
    if not isinstance(node, MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]


def _replacing(node: ScalarNode, new: str) -> Edit:
    quote = node.style or ""
    return node.start_mark.index, node.end_mark.index, f"{quote}{new}{quote}", f"{node.value} → {new}"


def _commented(text: str, key: ScalarNode, value: Node) -> Edit:
    """Make comments of the lines of a key and its value."""
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    lines = text[start : value.end_mark.index].splitlines()
    # The end of a block is where the next key begins; comments before that belong to the next key.
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    old = "\n".join(lines)
    new = "\n".join(f"# {line}" for line in lines)
    return start, start + len(old), new, f"{key.value}: … → a comment, because the key means nothing here"


def _edited(change: Change, edits: list[Edit]) -> Change:
    """Carry out the edits from the last one to the first, so that places stay right."""
    before = change.text
    for start, end, new, words in sorted(edits, reverse=True):
        change.text = change.text[:start] + new + change.text[end:]
        change.replaced.insert(0, (before.count("\n", 0, start) + 1, words))
    return change
