"""Schedules of pipeline jobs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from cronsim import CronSim
from google.protobuf import json_format

from . import jobs
from .server import NUMBER, Json, Refusal, now, parse

if TYPE_CHECKING:
    from . import Vertex


def answer(
    vertex: "Vertex", method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json, version: str
) -> Json:
    if method == "GET" and not names:
        vertex.allow("aiplatform.schedules.list")
        return {"schedules": [_listed(vertex, schedule) for schedule in vertex.schedules.values()]}
    if method == "POST" and not names:
        vertex.allow("aiplatform.schedules.create")
        schedule = _checked(vertex, body, version)
        name = f"{vertex.parent}/schedules/{next(NUMBER)}"
        vertex.schedules[name] = {
            **schedule,
            "name": name,
            "state": "ACTIVE",
            "createTime": now(),
            "updateTime": now(),
        }
        _catch_up(vertex.schedules[name])
        return vertex.schedules[name]
    name = f"{vertex.parent}/schedules/{names[0]}"
    if name not in vertex.schedules:
        raise Refusal(404, f"The Schedule does not exist: {name}")
    there = vertex.schedules[name]
    if method == "POST":
        vertex.allow("aiplatform.schedules.update")
        there["state"] = {"pause": "PAUSED", "resume": "ACTIVE"}[verb]
        return {}
    if method == "DELETE":
        vertex.allow("aiplatform.schedules.delete")
        del vertex.schedules[name]
        return {
            "name": f"{vertex.parent}/operations/{next(NUMBER)}",
            "done": True,
            "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
        }
    vertex.allow("aiplatform.schedules.update")
    if there["state"] == "COMPLETED":
        raise Refusal(400, "A completed schedule cannot be updated")
    schedule = _checked(vertex, body, version)
    for path in query["updateMask"].split(","):
        if path not in schedule:
            raise Refusal(400, f"{path}: a field that is set cannot be unset")
        there[path] = schedule[path]
        if path == "startTime":
            _catch_up(there)
    there["updateTime"] = now()
    return there


def _listed(vertex: "Vertex", schedule: Json) -> Json:
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    shown = {key: value for key, value in job.items() if vertex.lists_labels or key != "labels"}
    return {**schedule, "createPipelineJobRequest": {**schedule["createPipelineJobRequest"], "pipelineJob": shown}}


def _catch_up(schedule: Json) -> None:
    """Launch a run for each moment since a start time in the past; a schedule without one starts now."""
    started = datetime.fromisoformat(schedule.setdefault("startTime", now()))
    moments = takewhile(lambda moment: moment < datetime.now(UTC), CronSim(schedule["cron"].split(" ", 1)[1], started))
    most = int(schedule.get("maxRunCount", 100))
    schedule["startedRunCount"] = str(len(list(islice(moments, most))))
    if schedule["startedRunCount"] == schedule.get("maxRunCount"):
        schedule["state"] = "COMPLETED"


def fire(vertex: "Vertex", name: str) -> bool:
    """Let a moment of a schedule come; returns whether it has launched a job.

    ``maxConcurrentRunCount`` limits requests that are being sent, and is no matter here: one is sent at a time. Jobs that
    have not ended count for ``maxConcurrentActiveRunCount``.
    """
    schedule = vertex.schedules[name]
    active = [
        job for job in vertex.jobs.values()
        if job.get("scheduleName") == name and job["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING")
    ]  # fmt: skip
    if len(active) >= int(schedule.get("maxConcurrentActiveRunCount", len(active) + 1)):
        return False
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    content = jobs.answer(vertex, "POST", [], "", {"pipelineJobId": f"scheduled-{next(NUMBER)}"}, job, "v1beta1")
    content["scheduleName"] = name
    return True


def _checked(vertex: "Vertex", body: Json, version: str) -> Json:
    message = jobs.TYPES[version].Schedule.pb()()
    parse(body, message)
    if not message.display_name or not message.cron or message.max_concurrent_run_count < 1:
        raise Refusal(400, "display_name, cron and max_concurrent_run_count are required")
    if not re.fullmatch(r"((CRON_)?TZ=\S+ )?\S+( \S+){4}", message.cron):
        raise Refusal(400, f"cron '{message.cron}' is not valid")
    if message.create_pipeline_job_request.parent != vertex.parent:
        raise Refusal(400, "create_pipeline_job_request.parent is not the schedule's")
    job = jobs.checked(vertex, body["createPipelineJobRequest"]["pipelineJob"], version)
    schedule: Json = json_format.MessageToDict(message)
    return {**schedule, "createPipelineJobRequest": {**schedule["createPipelineJobRequest"], "pipelineJob": job}}
