"""The table of a job's steps: how each ended, and a bar for when it waited and ran."""

from collections.abc import Mapping, Sequence

from ..contract.job import State, TaskRun
from .graph import SIGNS, Graph, css_class, word
from .markup import as_duration, as_text, fitted
from .times import Span, chains, spared


def table(
    names: Sequence[str],
    runs: Mapping[str, TaskRun],
    graph: Graph,
    times: Mapping[str, Span],
    path: Sequence[str],
    limit: int,
) -> str:
    """The table.

    Args:
        names: the tasks in the order of their rows; a row's id is ``s`` and its number.
        runs: the tasks.
        graph: their graph.
        times: when they ran.
        path: the critical path.
        limit: the most bytes of the rows. Those that do not fit are counted.
    """
    whole = max((span.ended for span in times.values()), default=0.0) or 1.0
    on_path = set(path)
    numbers = {name: number for number, name in enumerate(names)}

    def row(name: str) -> str:
        mark = " class=cp" if name in on_path else ""
        return f"<tr id=s{numbers[name]}{mark}>{_row(runs[name], graph.nodes.get(name, ()), times.get(name), whole)}"

    body = fitted(names, row, limit, lambda more: f"<tr><th>{more} more steps are left out.")
    return (
        "<table class=steps><thead><tr><th scope=col>Step<th scope=col>State<th scope=col>Waited<th scope=col>Ran"
        f"<th scope=col>Time from 0 to {as_duration(whole)}</thead><tbody>{body}</tbody></table>"
    )


def _row(run: TaskRun, nodes: Sequence[str], span: Span | None, whole: float) -> str:
    waited = took = bar = ""
    if span and run.attempt:
        waited, took = f"{span.waited:.1f}", f"{run.seconds or span.ended - span.started:.1f}"
        bar = _bar(span, whole)
    tone = css_class(run.state)
    note = _note(run, nodes)
    return (
        f"<th>{as_text(run.name)}{f' <small>{as_text(note)}</small>' if note else ''}"
        f"<td class={tone}>{SIGNS.get(run.state, '?')} {word(run.state)}<td>{waited}<td>{took}<td class={tone}>{bar}"
    )


def _note(run: TaskRun, nodes: Sequence[str]) -> str:
    """What the name and the state of a step leave open: its nodes, where its result is from, how often it was tried."""
    names = ", ".join(nodes)
    notes = [names] if names and names.replace("_", "-").lower() != run.name else []
    notes += [f"taken from {run.origin or 'an earlier job'}"] if run.state == State.SKIPPED else []
    notes += [f"{run.attempt} attempts"] if run.attempt > 1 else []
    return "; ".join(notes)


def _bar(span: Span, whole: float) -> str:
    """Hatched while it waited, then full while it ran, with a gap where a further attempt began."""

    def percent(seconds: float) -> str:
        return f"{100 * seconds / whole:.4g}%"

    waited = f"<i class=w style=left:{percent(span.created)};width:{percent(span.waited)}></i>"
    retries = "".join(f"<i class=r style=left:{percent(moment)}></i>" for moment in span.retries[:20])
    return (
        f"<div>{waited if span.waited > whole / 500 else ''}"
        f"<i style=left:{percent(span.started)};width:{percent(span.ended - span.started)}></i>{retries}</div>"
    )


def explanation(graph: Graph, runs: Mapping[str, TaskRun], times: Mapping[str, Span], path: Sequence[str]) -> str:
    """Which steps decided how long the job took, and what it would spare to run some of them together."""
    text = ""
    if path:
        text = (
            "<p><span class=key>◆ The critical path</span> decides how long the job takes: "
            f"{as_text(' → '.join(path), 900)}.</p>"
        )
    is_whole = graph.about is None or not (graph.about.resumed or graph.about.selection)
    if is_whole and (straight := chains(graph)):
        starts = sum(len(chain) - 1 for chain in straight)
        seconds = sum(spared(chain, runs, times) for chain in straight)
        gain = f", about {as_duration(seconds)} in all" if seconds >= 1 else ""
        text += (
            f"<p><span class=m>Grouping:</span> {as_text('; '.join(' → '.join(chain) for chain in straight), 900)} "
            f"can run as {'one step' if len(straight) == 1 else 'one step each'} "
            f"(<code>run_config.grouping.cls: ChainNodeGrouper</code>), which spares {starts} "
            f"{'start' if starts == 1 else 'starts'}{gain}.</p>"
        )
    return f"{text}<p class=m>Seconds. While a bar is hatched, the step waits for a worker or a machine.</p>"
