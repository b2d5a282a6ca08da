"""Plans and jobs → tables, a Mermaid graph, summaries for CI, and JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from ..compile.datasets import Step
from ..compile.plan import Plan
from ..contract import FINISH_TASK, START_TASK
from ..contract.job import MlflowRun, PipelineJob

_NO_RUN = MlflowRun("", "")


def as_table(plan: Plan) -> Table:
    """One row for each step. Datasets that travel as artifacts are marked; the catalog keeps the others."""
    title = f"Pipeline {plan.pipeline}: {len(plan.steps)} steps"
    table = _table(title, "Step", "Nodes", "Inputs", "Outputs", "Resources")
    for step in plan.steps:
        table.add_row(
            step.name,
            "\n".join(step.nodes),
            _datasets(plan, step.inputs),
            _datasets(plan, step.outputs),
            _resources(step),
        )
    table.caption = "→ travels between steps as an artifact, ⇢ its files are carried"
    table.caption_justify = "left"
    return table


def as_json(plan: Plan) -> str:
    """The plan as JSON, with the fields that it has in Python."""
    return json.dumps(asdict(plan), indent=2, default=lambda model: model.model_dump())


def as_mermaid(plan: Plan) -> str:
    """The job's graph, with the datasets on its edges. Syntax: https://mermaid.js.org/syntax/flowchart.html"""
    number = {step.name: f"s{index}" for index, step in enumerate(plan.steps)}
    maker = {dataset: step.name for step in plan.steps for dataset in step.outputs}
    lines = ["flowchart TD", f"    start([{START_TASK}])"]
    lines += [f'    {number[step.name]}["{_escaped(", ".join(step.nodes))}"]' for step in plan.steps]
    lines.append(f"    finish([{FINISH_TASK}])")
    for step in plan.steps:
        if not step.after:
            lines.append(f"    start --> {number[step.name]}")
        for before in step.after:
            flowing = ", ".join(dataset for dataset in step.inputs if maker.get(dataset) == before)
            label = f'|"{_escaped(flowing)}"|' if flowing else ""
            lines.append(f"    {number[before]} -->{label} {number[step.name]}")
    followed = {name for step in plan.steps for name in step.after}
    ends = [number[step.name] for step in plan.steps if step.name not in followed] or ["start"]
    lines += [f"    {end} -.-> finish" for end in ends]
    return "\n".join(lines)


def job_as_table(job: PipelineJob) -> Table:
    """One row for each task."""
    table = _table(f"Job {job.name}: {job.state}", "Step", "State", "Attempt", "Seconds", "Error")
    for task in filter(lambda task: task.is_shown, job.tasks.values()):
        seconds = f"{task.seconds:.0f}" if task.seconds else ""
        table.add_row(task.name, task.state, str(task.attempt or ""), seconds, task.error)
    return table


def profile_as_table(job: PipelineJob) -> Table:
    """Where the seconds of each step went. Nodes in one group share what start and session take."""
    table = Table(title="Seconds of each step", title_justify="left")
    for column in ("Step", "Start", "Session", "Data", "Nodes", "MLflow", "Total"):
        table.add_column(column, justify="left" if column == "Step" else "right")
    for task in filter(lambda task: task.is_shown, job.tasks.values()):
        parts = task.parts()
        spent = [parts.get(part, 0.0) for part in ("session", "data", "nodes", "mlflow")]
        start = max(0.0, task.seconds - sum(spent)) if parts else 0.0
        table.add_row(task.name, *(f"{seconds:.1f}" for seconds in (start, *spent, task.seconds)))
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
        shown = Text(run.status, style=f"link {run.url}" if run.url.startswith("http") else "")
        table.add_row(job.name, job.pipeline, job.state, started, _duration(job), shown)
    return table


def job_as_dict(job: PipelineJob, run: MlflowRun | None = None) -> dict[str, Any]:
    """A job as data for a program, with times in RFC 3339.

    Args:
        job: the job.
        run: its MLflow run, if it has been asked for.
    """
    found: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(job).items()
    }
    found["tasks"] = [asdict(task) for task in job.tasks.values()]
    found["mlflow_status"] = run.status if run else None
    found["mlflow_run"] = run.url if run else job.mlflow_run or None
    return {**found, "url": job.url}


def job_as_markdown(job: PipelineJob, run: MlflowRun | None) -> str:
    """A job as a Markdown table for a CI page: how it ended, and where to look further."""
    rows = [("job", f"[{job.name}]({job.url})"), ("state", job.state), ("duration", _duration(job))]
    if run:
        rows += [("MLflow run", f"[{run.status}]({run.url})" if run.url.startswith("http") else run.status)]
        rows += [(name, said) for name, said in (("failed_node", run.failed_node), ("error", run.error)) if said]
    if job.error and not job.failed_tasks:
        rows.append(("error", job.error))
    for task in job.failed_tasks:
        log = f", [log]({task.log})" if task.log else ""
        rows.append((f"step {task.name}", f"FAILED: {task.error}{log}"))
    lines = [f"| {name} | {_cell(said)} |" for name, said in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def job_as_annotations(job: PipelineJob, run: MlflowRun | None) -> str:
    """Links to a job, for GitLab's page of a CI job. https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations"""
    links = [(f"Vertex AI job {job.name}: {job.state}", job.url)]
    if run:
        links.append((f"MLflow run: {run.status}", run.url))
    links += [(f"Log of {task.name}: {task.error}", task.log) for task in job.failed_tasks]
    shown = [{"external_link": {"label": _cell(label), "url": url}} for label, url in links if url.startswith("http")]
    return json.dumps({"Pipeline": shown}, indent=2)


def _table(title: str, *columns: str) -> Table:
    """An empty table. Long cells are folded, except the name of a job, which people copy."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "Job")
    return table


def _cell(text: str) -> str:
    """Make a text fit into one cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def _duration(job: PipelineJob) -> str:
    """How long a job took, or has taken so far, as ``1:02:03``."""
    if not job.started:
        return ""
    return str((job.ended or datetime.now(UTC)) - job.started).split(".")[0]


def _datasets(plan: Plan, names: tuple[str, ...]) -> str:
    arrows = {"pickle": "→ ", "files": "⇢ ", "model": "⇢ ", "": ""}
    ways = {name: arrows[artifact.travels] for name, artifact in plan.artifacts.items()}
    return "\n".join(f"{ways.get(name, '')}{name}" for name in names)


def _resources(step: Step) -> str:
    asked = [f"{name.replace('_', ' ')} {value}" for name, value in step.resources.model_dump().items() if value]
    return ", ".join([*asked, *(["cached"] if step.cached else [])])


def _escaped(text: str) -> str:
    return text.replace('"', "#quot;")
