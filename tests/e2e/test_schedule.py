"""``kedro vertexai schedule``: applied again and again, changed, pruned."""

import re

import pytest
from running import BIN, run
from small_cloud import answers

pytestmark = pytest.mark.slow

# What is scheduled is not run, so it is small.
HOURLY = """
from kedro.pipeline import Node, Pipeline


def create_pipeline(**_kwargs):
    return Pipeline([Node(print, "params:table", "x", name="one")])
"""
SCHEDULES = """
schedules:
  default_schedule:
    cron_expression: "0 6 * * MON-FRI"
    timezone: Europe/Berlin
  under_test:
    cron_expression: "0 * * * *"
    params: {table: {rows: 5}}
"""


def test_schedules_become_those_of_the_file_and_stay(with_pipeline, launchable, google, vertex, iap):
    project = launchable(with_pipeline(HOURLY, **answers(iap)), SCHEDULES.strip())
    (project / "conf/base/parameters.yml").write_text("table: {rows: 1}\n")
    settings = project / "conf/cloud/vertexai.yml"

    def schedule(*arguments: str) -> dict[str, str]:
        """Pipeline → what the command says of it."""
        done = run(BIN / "kedro", "vertexai", "-e", "cloud", "schedule", *arguments, cwd=project, **google.environment)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^(\S+) +TZ=\S+ [^:]+: (.+)$", done.stdout, re.MULTILINE))

    def writes() -> int:
        return sum(not asked.startswith("GET") for asked in vertex.requests)

    assert schedule("--dry-run") == {"under_test": "would be created", "__default__": "would be created"}
    assert writes() == 0
    assert schedule() == {"under_test": "created", "__default__": "created"}
    assert schedule() == {"under_test": "unchanged", "__default__": "unchanged"}
    assert writes() == 2
    by_cron = {item["cron"]: item for item in vertex.schedules.values()}
    hourly = by_cron["TZ=Etc/UTC 0 * * * *"]["createPipelineJobRequest"]["pipelineJob"]
    assert hourly["runtimeConfig"]["parameterValues"] == {"params": {"table": {"rows": 5}}}
    assert hourly["pipelineSpec"]["pipelineInfo"]["name"] == "test-project-under-test"

    # Another team's schedule of the same name, in the same project and region.
    name = f"{vertex.parent}/schedules/1"
    vertex.schedules[name] = {**by_cron["TZ=Etc/UTC 0 * * * *"], "name": name}
    vertex.schedules[name]["createPipelineJobRequest"] = {
        "pipelineJob": {**hourly, "labels": {"kedro_project": "theirs"}}
    }
    # And one whose package has the same name as ours: only its account and its bucket tell that it is theirs.
    namesake = f"{vertex.parent}/schedules/2"
    place = {"gcsOutputDirectory": "gs://theirs/test", "parameterValues": {}}
    vertex.schedules[namesake] = {**vertex.schedules[name], "name": namesake}
    vertex.schedules[namesake]["createPipelineJobRequest"] = {
        "pipelineJob": {**hourly, "serviceAccount": "theirs@theirs.iam.gserviceaccount.com", "runtimeConfig": place}
    }

    settings.write_text(settings.read_text().replace("0 6 * * MON-FRI", "30 6 * * *").replace("rows: 5", "rows: 6"))
    assert schedule("--dry-run") == {"under_test": "would be updated", "__default__": "would be updated"}
    names = set(vertex.schedules)
    assert schedule("-p", "under_test") == {"under_test": "updated"}
    assert schedule() == {"under_test": "unchanged", "__default__": "updated"}
    assert set(vertex.schedules) == names

    text = settings.read_text()
    settings.write_text(text[: text.index("    under_test:")] + text[text.index("api_endpoint:") :])
    assert schedule() == {
        "__default__": "unchanged",
        "under_test": "kept, although it is no longer in the file (--prune deletes it)",
    }
    assert schedule("--prune") == {"__default__": "unchanged", "under_test": "deleted"}
    assert {name, namesake} < set(vertex.schedules)

    # An entry whose time is over stops neither schedules nor launches.
    settings.write_text(settings.read_text().replace("timezone:", 'end_time: "2026-01-01T00:00:00Z"\n      timezone:'))
    assert schedule() == {"__default__": "kept, although it is no longer in the file (--prune deletes it)"}
    assert schedule("--prune") == {"__default__": "deleted"}
    assert set(vertex.schedules) == {name, namesake}
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "doctor", "--offline", cwd=project, **google.environment)
    assert done.returncode == 0, done.stdout
    message = "run_config.schedules.default_schedule has ended (2026-01-01T00:00:00+00:00). Remove it, or"
    assert re.search(rf"^! schedules .*{re.escape(message)}", done.stdout, re.MULTILINE), done.stdout


def test_a_file_without_schedules_says_so_and_can_still_prune(with_pipeline, launchable, google, vertex, iap):
    project = launchable(with_pipeline(HOURLY, **answers(iap)))
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "schedule", cwd=project, **google.environment)
    assert done.returncode == 1
    assert "run_config.schedules is empty. To delete the schedules on Vertex AI: --prune" in done.stderr
    assert vertex.requests == []
    assert (
        run(
            BIN / "kedro", "vertexai", "-e", "cloud", "schedule", "--prune", cwd=project, **google.environment
        ).returncode
        == 0
    )
