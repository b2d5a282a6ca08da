"""Edit the project's YAML: a text goes in, and the same text with a few words changed comes out, comments included."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .changes import Change
from .kedro1 import OLD_PACKAGE, REMOVED_TYPES, RENAMED_TYPES

# Keys of kedro-vertexai's run_config that have no effect here.
OBSOLETE_KEYS = {"image_pull_policy", "ttl", "run_name", "volume", "wait_for_completion", "dynamic_config_providers"}
# The keys of mlflow.yml that kedro-mlflow 2 reads.
_MLFLOW_KEYS = {"server", "tracking", "ui"}
# Stores that MLflow 3 no longer has: kedro-mlflow's old default, and a folder.
_FILE_STORE = re.compile(r"|null|~|mlruns/?|file:.*")
_DATABASE = '${oc.env:MLFLOW_TRACKING_URI, "sqlite:///mlflow.db"}'
# Where the old text begins and ends, the new text, and the words for the plan.
Edit = tuple[int, int, str, str]
_GROUPERS = "kedro_vertexai.grouping."


def edit_catalog(text: str, modules: set[str]) -> Change:
    """Spell the types of datasets, and some keys, as Kedro 1 and its plugins do.

    Args:
        text: a file of the catalog.
        modules: the project's own modules, whose classes keep their names.
    """
    change = Change(text)
    root = _parse(text, change)
    edits: dict[int, Edit] = {}
    for _, entry in _list_items(root):
        for edit in _edit_entry(entry, modules, change, is_top=True):
            edits[edit[0]] = edit
    return _apply(change, list(edits.values()))


def edit_vertexai(text: str) -> Change:
    """Carry over a vertexai.yml of kedro-vertexai."""
    change = Change(text)
    edits: list[Edit] = []
    root = _parse(text, change)
    run_config = _get_value(root, "run_config")
    for key, value in _list_items(run_config):
        if key.value in OBSOLETE_KEYS:
            edits.append(_comment_out(text, key, value))
            if advice := _ADVICE.get(key.value):
                change.todos.append((key.start_mark.line + 1, f"{key.value} is a comment now. {advice}"))
        elif key.value == "schedules":
            message = (
                "`make schedule`, which CI runs after a launch, creates these on Vertex AI. Keep only what you want."
            )
            change.todos.append((key.start_mark.line + 1, f"schedules: {message}"))
    for key, value in _list_items(_get_value(run_config, "grouping")):
        if key.value == "cls" and isinstance(value, ScalarNode) and value.value.startswith(_GROUPERS):
            edits.append(_replace(value, value.value.removeprefix(_GROUPERS)))
    return _apply(change, edits)


# What replaces an old key.
_ADVICE = {
    "dynamic_config_providers": "In credentials.yml, the resolvers gcp.id_token and gcp.access_token replace it.",
    "run_name": "The job's name begins with the pipeline's name; scheduled_run_name names the jobs of schedules.",
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
    root = _parse(text, change)
    if root is not None and not _MLFLOW_KEYS.intersection(key.value for key, _ in _list_items(root)):
        message = (
            "kedro-mlflow 2 reads the keys server, tracking and ui, and this file has none of them. Write them, or "
            "rename the file. https://kedro-mlflow.readthedocs.io"
        )
        change.todos.append((1, message))
    for key, value in _list_items(_get_value(root, "server")):
        is_uri = key.value == "mlflow_tracking_uri"
        if is_uri and isinstance(value, ScalarNode) and _FILE_STORE.fullmatch(value.value):
            reason = "because MLflow 3 does not store runs in files"
            words = f"mlflow_tracking_uri: {value.value or 'null'} → {_DATABASE}, {reason}"
            space = "" if value.value else " "
            edits.append((value.start_mark.index, value.end_mark.index, space + _DATABASE, words))
    return _apply(change, edits)


def check_logging(text: str) -> Change:
    """Find what Kedro 1.7 refuses in a logging.yml, at the start of every command."""
    change = Change(text)
    for key, value in _walk(_parse(text, change)):
        module = value.value.rpartition(".")[0] if isinstance(value, ScalarNode) else ""
        if key.value == "()":
            words = "Kedro 1.7 refuses () here. Name the class of a handler, formatter or filter by the key `class`."
        elif key.value == "class" and module.startswith("kedro.extras."):
            words = f"Kedro 1.7 refuses class {value.value}, which is gone. Use kedro.logging.RichHandler."
        elif key.value == "class" and module and not re.match(r"(logging|kedro\.logging)(\.|$)", module):
            words = (
                f"Kedro 1.7 refuses class {value.value}, which is neither of `logging` nor `kedro.logging`. To allow "
                f"it, set KEDRO_LOGGING_MODULE_ALLOWLIST={module} in your shell, in CI, and by ENV in the Dockerfile."
            )
        else:
            continue
        change.todos.append((key.start_mark.line + 1, words))
    return change


def read_facts(text: str) -> dict[str, str]:
    """Return the cloud facts in a vertexai.yml or mlflow.yml, as answers to the template's questions."""
    try:
        content: Any = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return {}
    run_config, server = content.get("run_config") or {}, content.get("server") or {}
    arguments = (run_config.get("mlflow") or {}).get("request_header_provider_params") or {}
    arguments |= (server.get("request_header_provider") or {}).get("init_kwargs") or {}
    uri, account = str(server.get("mlflow_tracking_uri") or ""), arguments.get("service_account")
    image, root = str(run_config.get("image") or ""), str(run_config.get("root") or "")
    values = {
        "gcp_project_id": content.get("project_id"),
        "gcp_region": content.get("region"),
        "gcp_bucket": root if root.startswith("gs://") or not root else f"gs://{root}",
        "artifact_registry": image.rpartition("/")[0] if "-docker.pkg.dev/" in image else "",
        "repo_name": image.rpartition("/")[2].partition(":")[0],
        "mlflow_tracking_uri": uri if uri.startswith("https://") else "",
        "service_account": run_config.get("service_account") or account,
        "client_id": arguments.get("client_id"),
    }
    return {name: str(value) for name, value in values.items() if value and not re.search(r"[<{$\s]", str(value))}


def _edit_entry(entry: Node, modules: set[str], change: Change, *, is_top: bool) -> Iterator[Edit]:
    """Yield the edits of a catalog entry, and of the datasets inside it."""
    names = {key.value for key, _ in _list_items(entry)}
    for key, value in _list_items(entry):
        if key.value == "data_set":
            yield _replace(key, "dataset")
        if key.value in ("type", "dataset", "data_set") and isinstance(value, ScalarNode):
            yield from _edit_type(value, modules, change)
        elif key.value in ("dataset", "data_set"):
            yield from _edit_entry(value, modules, change, is_top=False)
        elif key.value == "layer" and is_top:
            if "metadata" in names:
                message = "layer: move it to metadata, as `kedro-viz: {layer: …}`; datasets no longer take a layer."
                change.todos.append((key.start_mark.line + 1, message))
            else:
                new = f"metadata: {{kedro-viz: {{layer: {value.value}}}}}"
                yield key.start_mark.index, value.end_mark.index, new, f"layer: {value.value} → {new}"


def _edit_type(value: ScalarNode, modules: set[str], change: Change) -> Iterator[Edit]:
    old = value.value.removeprefix(OLD_PACKAGE)
    name = old.removeprefix("kedro_datasets.")
    if instead := REMOVED_TYPES.get(name):
        change.todos.append((value.start_mark.line + 1, f"{value.value} is gone: use {instead}."))
        return
    parts = old.split(".")
    if parts[0] in modules or (len(parts) > 2 and not old.startswith("kedro")):
        return
    new = RENAMED_TYPES.get(old) or RENAMED_TYPES.get(name) or re.sub(r"DataSet$", "Dataset", old)
    if new != value.value:
        yield _replace(value, new)


def _parse(text: str, change: Change) -> Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = "this is not YAML. If it uses Jinja, write dataset factories instead, which Kedro 1 has for that."
        change.todos.append((mark.line + 1 if mark else 0, message))
        return None


def _list_items(node: Node | None) -> list[tuple[ScalarNode, Node]]:
    if not isinstance(node, MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]


def _walk(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    """Yield all keys with their values, at every depth."""
    for key, value in _list_items(node):
        yield key, value
        yield from _walk(value)
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _walk(item)


def _get_value(node: Node | None, name: str) -> Node | None:
    return next((value for key, value in _list_items(node) if key.value == name), None)


def _replace(node: ScalarNode, new: str) -> Edit:
    quote = node.style or ""
    return node.start_mark.index, node.end_mark.index, f"{quote}{new}{quote}", f"{node.value} → {new}"


def _comment_out(text: str, key: ScalarNode, value: Node) -> Edit:
    """Turn the lines of a key and its value into comments."""
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    lines = text[start : value.end_mark.index].splitlines()
    # The end of a block is where the next key begins; comments before that belong to the next key.
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    old = "\n".join(lines)
    new = "\n".join(f"# {line}" for line in lines)
    return start, start + len(old), new, f"{key.value}: … → a comment, because the key has no effect here"


def _apply(change: Change, edits: list[Edit]) -> Change:
    """Apply the edits from the last one to the first, so that the positions of the others stay right."""
    before = change.text
    for start, end, new, words in sorted(edits, reverse=True):
        change.text = change.text[:start] + new + change.text[end:]
        change.replacements.insert(0, (before.count("\n", 0, start) + 1, words))
    return change
