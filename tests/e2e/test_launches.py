"""Several jobs in one project: entries of ``run_config.launches``, launched, scheduled and checked by their names."""

import json
import re
from pathlib import Path

import pytest
from pipeline_runs import only_run, source, vertexai
from running import BIN, run
from small_cloud import answers

pytestmark = pytest.mark.slow

CODE = """
def first(rows):
    return rows


def second(rows):
    Path("rows").write_text(str(rows))


def third(rows):
    raise ValueError("not for the night")
"""
NODES = """
Node(first, "params:rows", "a", name="first"), Node(second, "a", None, name="second", tags=["night"]),
Node(third, "a", None, name="third"),
"""
LAUNCHES = """
launches:
  nightly:
    pipeline: under_test
    selection: {to_nodes: [second]}
    params: {rows: 2}
    resources: {second: {memory: 8Gi}}
    schedule: {cron_expression: "0 3 * * *"}
  weekly:
    pipeline: under_test
    params: {rows: 3}
    schedule: {cron_expression: "0 4 * * SUN"}
""".strip()


def test_a_launch_has_its_pipeline_part_parameters_and_machines(with_pipeline):
    project = with_launches(with_pipeline(source(NODES, CODE)))
    done = vertexai(project, "run-local", "--launch", "nightly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "rows").read_text() == "2"
    assert only_run(project).data.params == {"rows": "2"}
    # What is typed counts before the entry.
    assert vertexai(project, "run-local", "--launch", "nightly", "--params", "rows=5").returncode == 0
    assert (project / "rows").read_text() == "5"
    plan = json.loads(vertexai(project, "plan", "--launch", "nightly", "--format", "json").stdout)
    machines = {step["name"]: step["resources"]["memory"] for step in plan["steps"]}
    assert machines["second"] == "8Gi" != machines["first"]
    # A job that failed goes on as what it was.
    failed = vertexai(project, "run-local", "--launch", "weekly")
    assert failed.returncode == 1
    job = re.search(r"--resume (\S+)", failed.stdout)[1]
    assert "--resume" in failed.stdout
    again = vertexai(project, "run-local", "--resume", job)
    assert "not for the night" in again.stdout
    spec = json.loads((newest(project) / "pipeline.json").read_text())
    (start,) = (
        executor["container"]["args"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
        if name == "exec-mlflow-start-run"
    )
    assert "--launch=weekly" in start


def test_a_wrong_name_or_a_second_choice_is_refused_and_ci_checks_each_launch(with_pipeline):
    project = with_launches(with_pipeline(source(NODES, CODE)))
    wrong = vertexai(project, "plan", "--launch", "nightyl")
    assert (wrong.returncode, "has no entry 'nightyl'. Did you mean 'nightly'?" in wrong.stderr) == (1, True)
    both = vertexai(project, "plan", "--launch", "nightly", "--to-nodes", "first")
    assert (both.returncode, "--launch names the pipeline and its part" in both.stderr) == (2, True)
    assert "launch nightly: 2 steps\nlaunch weekly: 3 steps\n" in vertexai(project, "plans").stdout
    settings = project / "conf/base/vertexai.yml"
    settings.write_text(settings.read_text().replace("to_nodes: [second]", "to_nodes: [secnd]"))
    refused = vertexai(project, "plans")
    assert refused.returncode == 1
    assert "launch nightly: There is no such part of pipeline 'under_test'" in refused.stderr


def test_launches_are_launched_and_scheduled_by_name(with_pipeline, launchable, google, vertex, iap):
    project = launchable(with_pipeline(source(NODES, CODE), **answers(iap)), LAUNCHES)
    (project / "conf/base/parameters.yml").write_text("rows: 1\n")

    def kedro(*arguments: str) -> str:
        done = run(BIN / "kedro", "vertexai", "-e", "cloud", *arguments, cwd=project, **google.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    request = json.loads(kedro("run-once", "--launch", "nightly", "--dry-run"))
    assert (request["labels"]["kedro_launch"], request["labels"]["kedro_pipeline"]) == ("nightly", "under_test")
    assert request["runtimeConfig"]["parameterValues"] == {"params": {"rows": 2}}
    printed = kedro("schedule")
    assert re.findall(r"^launch (\w+) .*: (\w+)$", printed, re.MULTILINE) == [
        ("nightly", "created"),
        ("weekly", "created"),
    ]
    jobs = {item["cron"]: item["createPipelineJobRequest"]["pipelineJob"] for item in vertex.schedules.values()}
    assert jobs["TZ=Etc/UTC 0 4 * * SUN"]["runtimeConfig"]["parameterValues"] == {"params": {"rows": 3}}
    again = kedro("schedule")
    assert re.findall(r"^launch (\w+) .*: (\w+)$", again, re.MULTILINE) == [
        ("nightly", "unchanged"),
        ("weekly", "unchanged"),
    ]
    settings = project / "conf/cloud/vertexai.yml"
    settings.write_text(settings.read_text().replace('schedule: {cron_expression: "0 4 * * SUN"}', ""))
    assert re.search(r"^launch weekly .*: deleted$", kedro("schedule", "--prune"), re.MULTILINE)


def with_launches(project: Path) -> Path:
    settings = project / "conf/base/vertexai.yml"
    settings.write_text(
        f"{settings.read_text()}{''.join(f'  {line}' for line in LAUNCHES.splitlines(keepends=True))}\n"
    )
    (project / "conf/base/parameters.yml").write_text("rows: 1\n")
    return project


def newest(project: Path) -> Path:
    return max(job for job in (project / ".vertexai").iterdir() if job.name[0] != ".")
