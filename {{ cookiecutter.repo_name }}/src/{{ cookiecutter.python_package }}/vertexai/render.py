"""``Plan`` → what people look at: a table, a Mermaid graph, JSON."""

import json
from dataclasses import asdict

from rich.table import Table

from .plan import FINISH_TASK, START_TASK, Plan, Step


def as_table(plan: Plan) -> Table:
    """One row per step; artifacts are marked, the other datasets are kept by the catalog."""
    table = Table(title=f"Pipeline {plan.pipeline}: {len(plan.steps)} steps", title_justify="left")
    for column in ("Step", "Nodes", "Inputs", "Outputs", "Resources"):
        table.add_column(column, overflow="fold")
    for step in plan.steps:
        table.add_row(
            step.name,
            "\n".join(step.nodes),
            _datasets(plan, step.inputs),
            _datasets(plan, step.outputs),
            _resources(step),
        )
    table.caption = "→ travels between steps as an artifact"
    table.caption_justify = "left"
    return table


def as_json(plan: Plan) -> str:
    """The plan's fields as they are."""
    return json.dumps(asdict(plan), indent=2)


def as_mermaid(plan: Plan) -> str:
    """The job's graph; an edge says which datasets flow along it. https://mermaid.js.org/syntax/flowchart.html"""
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


def _datasets(plan: Plan, names: tuple[str, ...]) -> str:
    return "\n".join(f"→ {name}" if name in plan.artifacts else name for name in names)


def _resources(step: Step) -> str:
    asked = {"cpu": step.resources.cpu, "memory": step.resources.memory}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value)


def _escaped(text: str) -> str:
    return text.replace('"', "#quot;")
