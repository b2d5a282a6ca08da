"""A job → one HTML file that shows it: its graph, when each step ran, what failed, parameters, metrics and plots.

The page asks no host for anything, has no script, and what comes from outside is text in it. It is made on a laptop
and, at the end of a job, in the container, so only the standard library and the contract are imported here.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from ..contract.arguments import JobArguments
from ..contract.job import PipelineJob, RunContents, State, TaskRun
from ..contract.names import is_step
from ..contract.spec import default_params
from .graph import READABLE, SIGNS, Graph, css_class, draw, read_graph, word
from .markup import Item, as_duration, as_end, as_link, as_text, as_time, as_value, fitted, size
from .steps import explanation, table
from .style import CSS
from .times import critical_path, spans

__all__ = ["MAX_BYTES", "render"]

# The whole page, and what its parts may take. The steps get what is left, and the images what they leave.
MAX_BYTES = 300_000
_MAX_FAILURES, _MAX_GRAPH, _MAX_PARAMS, _MAX_METRICS = 45_000, 60_000, 20_000, 12_000
_FRAMES = 2_000  # around the steps and the images
_MAX_LINKS = 20
_MAX_LOG = 6_000  # characters of each failure's log
# Nothing may be loaded or run; styles are in the page, and so are images.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_KINDS = {
    b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"<svg": "image/svg+xml",
    b"<?xml": "image/svg+xml",
}  # fmt: skip


def render(job: PipelineJob, run: RunContents | None = None, now: datetime | None = None) -> str:
    """The page of a job, at most 300 KB of HTML.

    Args:
        job: the job with its tasks; with its spec, if the graph is to be shown.
        run: what is in its MLflow run and its logs; None if that is not known.
        now: when the page is made; None is now.
    """
    now, run = now or datetime.now(UTC), run or RunContents()
    graph = read_graph(job.spec)
    tasks = {name: TaskRun(name, "") for name in graph.upstream}
    tasks |= {name: task for name, task in job.tasks.items() if task.is_shown}
    times = spans(tasks, _start(job, now), now)
    names = sorted(tasks, key=lambda name: times[name].started if name in times else float("inf"))
    path = critical_path(graph, times)
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{as_text(job.name, 100)}: {word(job.state)}</title><link rel="icon" href="data:,">'
        f"<style>{CSS}</style></head><body>"
    )
    anchors = {name: f"s{number}" for number, name in enumerate(names)} if len(names) <= READABLE else {}
    above = [_header(job, run, graph, tasks, now), "<main>", _failures(job, graph, run)]
    above += [_graph(graph, tasks, anchors, path), explanation(graph, tasks, times, path)]
    below = [
        _values(run, job, graph),
        f"</main><footer>Made at {as_time(now)} by <code>kedro vertexai</code>.</footer>",
    ]
    room = MAX_BYTES - size(head) - sum(map(size, above + below)) - _FRAMES
    steps = table(names, tasks, graph, times, path, room)
    section = f"<section><h2>Steps and time</h2>{above.pop()}{steps}</section>"
    plots = _plots(run.images, room - size(steps))
    return "".join([head, *above, section, plots, *below, "</body></html>\n"])


def _start(job: PipelineJob, now: datetime) -> datetime:
    """When the timeline begins: with the job, or with its first task where the job does not say."""
    of_job = [time for time in (job.started or job.created,) if time]
    return min([*of_job, *(task.created or task.started or now for task in job.tasks.values())], default=now)


def _header(job: PipelineJob, run: RunContents, graph: Graph, tasks: Mapping[str, TaskRun], now: datetime) -> str:
    """How the job has come along, what it is, and where to look further."""
    counts = Counter(task.state for name, task in tasks.items() if is_step(name))
    words = [
        f'<span class="{css_class(state)}">{SIGNS.get(state, "?")} {count} {word(state)}</span>'
        for state, count in sorted(counts.items(), key=lambda item: (item[0] != State.FAILED, -item[1]))
    ]
    total = sum(counts.values())
    steps = f"{total} {'step' if total == 1 else 'steps'}: {', '.join(words)}" if total else "No step has begun."
    facts = [*_facts(job, graph, now), *_links(job, run)]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    return (
        f'<header><h1>{as_text(job.name, 130)} <span class="state {css_class(job.state)}">'
        f"{SIGNS.get(job.state, '')} {word(job.state)}</span></h1><p>{steps}</p><dl>{rows}</dl></header>"
    )


def _facts(job: PipelineJob, graph: Graph, now: datetime) -> list[tuple[str, str]]:
    """What is known of the job, as HTML; empty where it is not known."""
    about, start = graph.about, job.started or job.created
    took = (
        as_duration(((job.ended or now) - start).total_seconds()) if start and (job.ended or not job.has_ended) else ""
    )
    selection = [(name, value) for name, value in about.selection.items() if value] if about else []
    code = about.code if about else {}
    dirty = ", and changes that no commit has" if code.get("dirty") else ""
    return [
        ("Pipeline", as_text(about.pipeline if about else job.pipeline)),
        ("Part of it", as_text("; ".join(f"{name.replace('_', ' ')} {_listed(value)}" for name, value in selection))),
        ("Environment", as_text(about.env if about else "")),
        ("Resumes", as_text(_resumed(about) if about and about.resumed else "")),
        ("Started", as_time(start) if start else ""),
        ("Ended", as_time(job.ended) if job.ended else ""),
        ("Took", took if job.ended or not took else f"{took} so far"),
        ("Image", f"<code>{as_text(about.image)}</code>" if about and about.image else ""),
        (
            "Uploaded code",
            as_text(f"commit {code['commit']}{dirty}" if code.get("commit") else str(code.get("uri", ""))),
        ),
        ("Runs as", as_text(job.service_account)),
    ]


def _resumed(about: JobArguments) -> str:
    nodes = ", ".join(about.resumed.get("nodes", ()))
    return f"{about.resumed.get('job')}{f', and takes {nodes} from it' if nodes else ''}"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _links(job: PipelineJob, run: RunContents) -> list[tuple[str, str]]:
    """Where to look further, as HTML."""
    links = {"Vertex AI" if job.url.startswith("https:") else "Folder": job.url, "MLflow run": job.mlflow_run}
    return [(as_text(name), as_link(url, url)) for name, url in [*{**links, **run.links}.items()][:_MAX_LINKS] if url]


def _failures(job: PipelineJob, graph: Graph, run: RunContents) -> str:
    def piece(task: TaskRun) -> str:
        return _failure(task, graph.nodes.get(task.name, ()), run.log_tails.get(task.name, ""))

    if not job.error and not job.failed_tasks:
        return ""
    of_job = f"<p>{as_text(job.error, 3000)}</p>" if not job.failed_tasks else ""
    of_tasks = fitted(
        job.failed_tasks, piece, _MAX_FAILURES, lambda more: f"<p class=m>{more} more failed; the table has them.</p>"
    )
    return f"<section class=failed><h2>What failed</h2>{of_job}{of_tasks}</section>"


def _failure(task: TaskRun, nodes: Sequence[str], tail: str) -> str:
    where = f" <small>node {as_text(', '.join(nodes))}</small>" if nodes else ""
    lines = tail.splitlines()
    last = f"<p><b>{as_text(lines[-1], 1000)}</b></p>" if lines else ""
    # The inner element is at the bottom of the outer one, so that a browser shows the end first.
    pre = f"<pre tabindex=0><code>{as_end(tail, _MAX_LOG)}</code></pre>"
    log = f"{last}<details open><summary>The end of its log</summary>{pre}</details>" if lines else ""
    link = f"<p>Its log: {as_link('in Google Cloud', task.log)}</p>" if task.log else ""
    return f"<h3>{as_text(task.name)}{where}</h3><p>{as_text(task.error, 2000)}</p>{log}{link}"


def _graph(graph: Graph, tasks: Mapping[str, TaskRun], anchors: Mapping[str, str], path: Sequence[str]) -> str:
    if not graph.upstream:
        return ""
    drawing = draw(graph, tasks, anchors, path)
    if size(drawing) > _MAX_GRAPH:
        drawing = "<p class=m>It is too large for this page.</p>"
    return f"<section><h2>Graph</h2>{drawing}</section>"


def _values(run: RunContents, job: PipelineJob, graph: Graph) -> str:
    """Metrics and parameters, side by side where there is room."""
    title, params = "Parameters", dict(run.params)
    if not params and graph.about:
        title, params = "Runtime parameters", _flat(default_params(job.spec))
    parts = [
        _table("Metrics", run.metrics, lambda name, value: f"<td class=n>{value:.6g}", _MAX_METRICS),
        _table(title, params, lambda name, value: f"<td><code>{as_value(name, value)}</code>", _MAX_PARAMS),
    ]
    return f'<div class="{"both" if all(parts) else "one"}">{"".join(parts)}</div>'


def _table(title: str, values: Mapping[str, Item], cell: Callable[[str, Item], str], limit: int) -> str:
    rows = fitted(
        sorted(values),
        lambda name: f"<tr><th>{as_text(name)}{cell(name, values[name])}",
        limit,
        lambda more: f"<tr><td colspan=2 class=m>and {more} more",
    )
    return f"<section><h2>{title}</h2><table><tbody>{rows}</tbody></table></section>" if values else ""


def _flat(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested parameters by their names with dots."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return flat


def _plots(images: Mapping[str, bytes], room: int) -> str:
    """The images that fit, small ones first, and the names of the others."""
    figures: dict[str, str] = {}
    room -= 6_000  # for the names
    for name, content in sorted(images.items(), key=lambda item: len(item[1])):
        kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), "")
        if not kind or len(content) > room:
            continue
        source = f"data:{kind};base64,{b64encode(content).decode()}"
        figure = f'<figure><img alt="{as_text(name)}" src="{source}"><figcaption>{as_text(name)}</figcaption></figure>'
        if size(figure) <= room:
            figures[name], room = figure, room - size(figure)
    others = sorted(name for name in images if name not in figures)
    left_out = f"<p class=m>Not on this page: {as_text(', '.join(others), 900)}</p>" if others else ""
    shown = "".join(figures[name] for name in images if name in figures)
    return f"<section><h2>Plots</h2><div class=plots>{shown}</div>{left_out}</section>" if images and room > 0 else ""
