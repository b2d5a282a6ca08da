"""``kedro vertexai schedule``: applied again and again, changed, pruned."""

import re

import pytest
from running import BIN, run
from small_cloud import answers

pytestmark = pytest.mark.slow

SCHEDULES = """
schedules:
  default_schedule:
    cron_expression: "0 6 * * MON-FRI"
    timezone: Europe/Berlin
  penguins:
    cron_expression: "0 * * * *"
    params: {forest: {n_estimators: 5}}
"""


def test_schedules_become_those_of_the_file_and_stay(bake, launchable, google, vertex, iap):
    project = launchable(bake(**answers(iap)), SCHEDULES.strip())
    settings = project / "conf/cloud/vertexai.yml"

    def schedule(*arguments: str) -> dict[str, str]:
        """Pipeline → what the command says of it."""
        done = run(BIN / "kedro", "vertexai", "-e", "cloud", "schedule", *arguments, cwd=project, **google.environment)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^(\S+) +TZ=\S+ [^:]+: (.+)$", done.stdout, re.MULTILINE))

    def writes() -> int:
        return sum(not asked.startswith("GET") for asked in vertex.requests)

    assert schedule("--dry-run") == {"penguins": "would be created", "__default__": "would be created"}
    assert writes() == 0
    assert schedule() == {"penguins": "created", "__default__": "created"}
    assert schedule() == {"penguins": "unchanged", "__default__": "unchanged"}
    assert schedule() == {"penguins": "unchanged", "__default__": "unchanged"}
    assert writes() == 2
    by_cron = {item["cron"]: item for item in vertex.schedules.values()}
    hourly = by_cron["TZ=Etc/UTC 0 * * * *"]["createPipelineJobRequest"]["pipelineJob"]
    assert hourly["runtimeConfig"]["parameterValues"] == {"params": {"forest": {"n_estimators": 5}}}
    assert hourly["pipelineSpec"]["pipelineInfo"]["name"] == "test-project-penguins"

    # Another team's schedule of the same name, in the same project and region.
    name = f"{vertex.parent}/schedules/1"
    vertex.schedules[name] = {**by_cron["TZ=Etc/UTC 0 * * * *"], "name": name}
    vertex.schedules[name]["createPipelineJobRequest"] = {
        "pipelineJob": {**hourly, "labels": {"kedro_project": "theirs"}}
    }

    settings.write_text(
        settings.read_text().replace("0 6 * * MON-FRI", "30 6 * * *").replace("n_estimators: 5", "n_estimators: 6")
    )
    assert schedule("--dry-run") == {"penguins": "would be updated", "__default__": "would be updated"}
    names = set(vertex.schedules)
    assert schedule("-p", "penguins") == {"penguins": "updated"}
    assert schedule() == {"penguins": "unchanged", "__default__": "updated"}
    assert set(vertex.schedules) == names

    text = settings.read_text()
    settings.write_text(text[: text.index("    penguins:")] + text[text.index("api_endpoint:") :])
    assert schedule() == {
        "__default__": "unchanged",
        "penguins": "left, though it is in the file no more (--prune deletes it)",
    }
    assert schedule("--prune") == {"__default__": "unchanged", "penguins": "deleted"}
    assert schedule("--prune") == {"__default__": "unchanged"}
    assert name in vertex.schedules


def test_a_file_without_schedules_says_so_and_can_still_prune(bake, launchable, google, vertex, iap):
    project = launchable(bake(**answers(iap)))
    done = run(BIN / "kedro", "vertexai", "-e", "cloud", "schedule", cwd=project, **google.environment)
    assert done.returncode == 1
    assert "run_config.schedules is empty. To delete the schedules that there are: --prune" in done.stderr
    assert vertex.requests == []
    assert (
        run(
            BIN / "kedro", "vertexai", "-e", "cloud", "schedule", "--prune", cwd=project, **google.environment
        ).returncode
        == 0
    )
