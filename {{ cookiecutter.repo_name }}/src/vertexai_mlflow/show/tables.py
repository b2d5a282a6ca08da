"""Show plans and jobs as tables, Mermaid graphs, summaries for CI, and JSON."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..compile.datasets import Step
from ..compile.plan import Plan
from ..compile.width import describe_width
from ..contract.custom_job import machine_of
from ..contract.job import MlflowRun, PipelineJob, TaskRun, custom_job_url
from ..contract.names import FINISH_TASK, START_TASK
from ..contract.spec import tasks
from ..errors import UserError, shown
from ..markdown import as_cell, as_line, as_link, as_url

_NO_RUN = MlflowRun("", "")


def as_table(plan: Plan) -> Table:
    """One row for each step. Arrows mark the datasets that travel between steps; the catalog keeps the others."""
    title = f"Pipeline {plan.pipeline}: {len(plan.steps)} steps"
    resources = {step.name: _resources(step) for step in plan.steps}
    in_all = [part for part in next(iter(resources.values()), []) if all(part in parts for parts in resources.values())]
    differing = {name: ", ".join(part for part in parts if part not in in_all) for name, parts in resources.items()}
    table = _table(title, "Step", "Nodes", "Inputs", "Outputs", *(["Resources"] if any(differing.values()) else []))
    for step in plan.steps:
        cells = [[step.name], step.nodes, _datasets(plan, step.inputs), _datasets(plan, step.outputs)]
        table.add_row(*map(_Names, cells), *filter(None, [differing[step.name]]))
    width = describe_width(plan.steps)
    captions = ["→ travels between steps as an artifact, ⇢ its files are carried", f"{width[0].upper()}{width[1:]}"]
    table.caption = "\n".join([*captions, *([f"Every step: {', '.join(in_all)}"] if in_all else [])])
    table.caption_justify = "left"
    return table


def as_mermaid(plan: Plan) -> str:
    """The job's graph, with the datasets on its edges. Syntax: https://mermaid.js.org/syntax/flowchart.html"""
    number = {step.name: f"s{index}" for index, step in enumerate(plan.steps)}
    maker = {dataset: step.name for step in plan.steps for dataset in step.outputs}
    lines = ["flowchart TD", f"    start([{START_TASK}])"]
    lines += [f'    {number[step.name]}["{_as_label(", ".join(step.nodes))}"]' for step in plan.steps]
    lines.append(f"    finish([{FINISH_TASK}])")
    for step in plan.steps:
        if not step.after:
            lines.append(f"    start --> {number[step.name]}")
        for before in step.after:
            datasets = ", ".join(dataset for dataset in step.inputs if maker.get(dataset) == before)
            label = f'|"{_as_label(datasets)}"|' if datasets else ""
            lines.append(f"    {number[before]} -->{label} {number[step.name]}")
    with_successors = {name for step in plan.steps for name in step.after}
    ends = [number[step.name] for step in plan.steps if step.name not in with_successors] or ["start"]
    lines += [f"    {end} -.-> finish" for end in ends]
    return "\n".join(lines)


def job_as_table(job: PipelineJob) -> Table:
    """One row for each task; what it asks for links the custom job that a step with a machine of its own runs as."""
    machines: dict[str, str] = {}
    with suppress(UserError):  # a job of somebody else has what only Vertex AI can run
        machines = {task.name: machine_of(task.container) for task in tasks(job.spec)} if job.spec else {}
    column = ["Machine"] if any(machines.values()) else []
    table = _table(f"Job {job.name}: {job.state}", "Step", "State", "Attempt", "Seconds", *column, "Error")
    for task in filter(lambda task: task.is_shown, job.tasks.values()):
        seconds = f"{task.seconds:.0f}" if task.seconds else ""
        note = f"taken from {task.origin}" if task.origin else task.error
        link = f"link {custom_job_url(task.custom_job)}" if task.custom_job else ""
        machine = [Text(shown(machines.get(task.name, "")), style=link)] if column else []
        table.add_row(task.name, task.state, str(task.attempt or ""), seconds, *machine, note)
    return table


def profile_as_table(job: PipelineJob) -> Table:
    """Where the seconds of each step went. Nodes in one group share what start and session take."""
    table = Table(title="Seconds of each step", title_justify="left")
    for column in ("Step", "Start", "Session", "Data", "Nodes", "MLflow", "Total"):
        table.add_column(column, justify="left" if column == "Step" else "right")
    for task in filter(lambda task: task.is_shown, job.tasks.values()):
        parts = task.parts()
        times = [parts.get(part, 0.0) for part in ("session", "data", "nodes", "mlflow")]
        start = max(0.0, task.seconds - sum(times)) if parts else 0.0
        table.add_row(task.name, *(f"{seconds:.1f}" for seconds in (start, *times, task.seconds)))
    return table


def jobs_as_table(jobs: Iterable[PipelineJob], runs: Mapping[str, MlflowRun]) -> Table:
    """One row for each job.

    Args:
        jobs: the jobs.
        runs: job name → its MLflow run.
    """
    title = "Pipeline jobs, newest first"
    table = _table(title, "Job", "Pipeline", "State", "Started", "Duration", "MLflow run")
    for job in jobs:
        started = f"{job.started.astimezone():%Y-%m-%d %H:%M}" if job.started else ""
        run = runs.get(job.name, _NO_RUN)
        status = Text(shown(run.status), style=f"link {as_url(run.url)}" if run.url.startswith("http") else "")
        table.add_row(job.name, job.pipeline, job.state, started, _duration(job), status)
    return table


def job_as_dict(job: PipelineJob, run: MlflowRun | None = None) -> dict[str, Any]:
    """A job as data for a program, with times in RFC 3339.

    Args:
        job: the job.
        run: its MLflow run, if the caller has looked it up.
    """
    fields = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(job).items()}
    del fields["spec"]  # it is long, and `compile` writes it to a file
    fields["tasks"] = [_task_as_dict(task) for task in job.tasks.values()]
    fields["mlflow_status"] = run.status if run else None
    fields["mlflow_run"] = run.url if run else job.mlflow_run or None
    return {**fields, "url": job.url}


def _task_as_dict(task: TaskRun) -> dict[str, Any]:
    times = {name: value.isoformat() for name, value in vars(task).items() if isinstance(value, datetime)}
    links = {"custom_job_url": custom_job_url(task.custom_job)} if task.custom_job else {}
    return {**asdict(task), **times, **links, "attempts": [time.isoformat() for time in task.attempts]}


def job_as_markdown(job: PipelineJob, run: MlflowRun | None) -> str:
    """A job as a Markdown table for a page of CI: how it ended, and where to find out more."""
    rows = [("job", as_link(job.name, job.url)), ("state", as_cell(job.state)), ("duration", _duration(job))]
    if run:
        tags = (("failed_node", run.failed_node), ("error", run.error))
        rows += [("MLflow run", as_link(run.status, run.url)), *((name, as_cell(tag)) for name, tag in tags if tag)]
    if job.error and not job.failed_tasks:
        rows.append(("error", as_cell(job.error)))
    for task in job.failed_tasks:
        log = f", {as_link('log', task.log)}" if task.log else ""
        rows.append((f"step {as_cell(task.name)}", f"FAILED: {as_cell(task.error)}{log}"))
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {cell} |" for name, cell in rows)])


def job_as_annotations(job: PipelineJob, run: MlflowRun | None) -> str:
    """Links to a job, for GitLab's page of a CI job. https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations"""
    links = [(f"Vertex AI job {job.name}: {job.state}", job.url)]
    if run:
        links.append((f"MLflow run: {run.status}", run.url))
    links += [(f"Log of {task.name}: {task.error}", task.log) for task in job.failed_tasks]
    entries = [{"label": as_line(label), "url": as_url(url)} for label, url in links if url.startswith("http")]
    return json.dumps({"Pipeline": [{"external_link": entry} for entry in entries]}, indent=2)


def _table(title: str, *columns: str) -> Table:
    """An empty table. Long cells are folded, except the names of jobs, because people copy them."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "Job")
    return table


def _duration(job: PipelineJob) -> str:
    """How long a job took, or has taken so far, as ``1:02:03``."""
    if not job.started:
        return ""
    return str((job.ended or datetime.now(UTC)) - job.started).split(".")[0]


class _Names:
    """Names in a cell, one a line. What is too long is folded where a word in it ends; rich would do that anywhere."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [re.findall(r"[^-_.:/@]*[-_.:/@]+|[^-_.:/@]+", shown(name)) for name in names]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        lengths = [cell_len("".join(words)) for words in self._names]
        return Measurement(
            max((cell_len(word) for words in self._names for word in words), default=0), max(lengths, default=0)
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [line for words in self._names for line in _folded(words, options.max_width)]
        yield Text("\n".join(lines), no_wrap=True)


def _folded(words: Iterable[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        if cell_len(lines[-1] + word) > width and lines[-1]:
            lines.append("  ")  # so that it does not look like another name
        lines[-1] += word
    return [part for line in lines for part in chop_cells(line, width)]


def _datasets(plan: Plan, names: tuple[str, ...]) -> list[str]:
    arrows = {"pickle": "→ ", "files": "⇢ ", "model": "⇢ ", "": ""}
    marks = {name: arrows[artifact.travels] for name, artifact in plan.artifacts.items()}
    return [f"{marks.get(name, '')}{name}" for name in names]


def _resources(step: Step) -> list[str]:
    asked = {name: value for name, value in step.resources.model_dump().items() if value}
    variables = [f"{name}={value}" for name, value in asked.pop("env", {}).items()]
    if disk := asked.pop("boot_disk", None):
        asked["boot_disk"] = f"{disk['type']} {disk['size']} GB"
    if more := asked.pop("custom_job", None):
        asked["custom_job"] = json.dumps(more)
    resources = ["spot" if name == "spot" else f"{name.replace('_', ' ')} {value}" for name, value in asked.items()]
    return [*resources, *variables, *(["cached"] if step.cached else [])]


def _as_label(text: str) -> str:
    """A text for a label of a Mermaid graph, escaped by its entity codes."""
    return re.sub(r"[^\w .,:@/-]", lambda match: f"#{ord(match[0])};", shown(text))
