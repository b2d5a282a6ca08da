"""What very many nodes hand to one, and one to very many, arrives: on disks of their own and on one, resumed and cached.

There are as many datasets as have to be gathered, made in few steps, because a step takes a second. ``GATHERED=1000 EACH=1``
makes a thousand, each in a step of its own.
"""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from fakes.storage import cloud_storage
from running import BIN, run
from small_cloud import answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

COUNT = int(os.environ.get("GATHERED", "250"))
EACH = int(os.environ.get("EACH", "50"))
SOURCE = """
from kedro.pipeline import Node, Pipeline


def forecast(number):
    return lambda factor, seed=0, *_before: number * factor + int(seed)


def cut(factor):
    return [number * factor for number in range(COUNT)]


def add_up(*numbers):
    print("TOTAL", len(numbers), sum(numbers))
    return sum(numbers)


def create_pipeline(**_kwargs):
    made = [f"forecast_of_{number}" for number in range(COUNT)]
    before = [f"forecast_of_{number}" for number in range(0, COUNT - EACH, EACH)]
    pieces = [f"piece_{number}" for number in range(COUNT)]
    nodes = [
        Node(
            forecast(number), ["params:factor", *(["seed", *before] if number == COUNT - 1 else [])], name,
            name=f"forecast_{number}", tags=[f"group.part_{number // EACH}"],
        )
        for number, name in enumerate(made)
    ]
    nodes.append(Node(cut, "params:factor", pieces, name="cut"))
    return Pipeline([*nodes, Node(add_up, [*made, *pieces], "total", name="add_up")])
""".replace("COUNT", str(COUNT)).replace("EACH", str(EACH))
MAKERS = -(-COUNT // EACH)
SUM = 3 * sum(range(COUNT)) * 2
SEEDED = f"part-{(COUNT - 1) // EACH}"  # it waits for all others that make forecasts
GROUPING = "grouping: {cls: TagNodeGrouper}"
SEED = "data/01_raw/seed.json"


def complete(project: Path) -> None:
    (project / "conf/base/parameters.yml").write_text("factor: 3\n")
    (project / "conf/base/catalog.yml").write_text(f"seed: {{type: json.JSONDataset, filepath: {SEED}}}\n")
    (project / SEED).parent.mkdir(parents=True, exist_ok=True)
    (project / SEED).write_text('"not a number"')


def totals(log: Path) -> list[str]:
    return re.findall(r"^TOTAL .*", log.read_text(), re.MULTILINE)


def states_in(printed: str) -> dict[str, str]:
    return {name: state for state, name in re.findall(r"^([A-Z_]+) +([a-z][\w-]*)", printed, re.MULTILINE)}


def test_what_is_gathered_on_disks_of_their_own_is_resumed_when_one_has_failed(
    with_pipeline, launchable, google, iap, vertex, cloud, mlflow_url
):
    with cloud_storage() as storage:
        vertex.own_disks = True
        vertex.environment = {**vertex.environment, **storage.on_vertex}
        project = launchable(with_pipeline(SOURCE, **answers(iap)), GROUPING)
        complete(project)
        variables = {**google.environment, **storage.on_vertex}

        def kedro(*arguments: str) -> tuple[int, str]:
            done = run(BIN / "kedro", "vertexai", "-e", "cloud", *arguments, cwd=project, timeout=1500, **variables)
            return done.returncode, done.stdout + done.stderr

        assert kedro("upload-data", "seed")[0] == 0
        code, printed = kedro("run-once", "--job-id", "first", "--wait-for-completion")
        assert (code, "ValueError: invalid literal for int()" in printed) == (1, True), printed
        assert states_in(printed)[SEEDED] == "FAILED"

        (project / SEED).write_text("1000")
        assert kedro("upload-data", "seed")[0] == 0
        code, printed = kedro("resume", "first", "--job-id", "second", "--wait-for-completion")
        assert code == 0, printed
        taken = re.findall(r"^TAKEN +(\S+) from first$", printed, re.MULTILINE)
        ended = re.findall(r"^SUCCEEDED +(\S+)", printed, re.MULTILINE)
        assert len(taken) >= MAKERS - 1
        assert len(taken) + len(ended) == MAKERS + 4  # with cut, add-up, the first and the last task
        logs = project.parent / "own-disks/second/logs"
        assert totals(logs / "add-up.txt") == [f"TOTAL {2 * COUNT} {SUM + 1000}"]
        assert len(list(logs.glob("vertexai-gather-*.txt"))) >= COUNT / 100
        code, printed = kedro("status", "second")
        assert (code, "add-up" in printed, "vertexai-gather" in printed) == (0, True, False)


def test_of_what_is_gathered_on_one_disk_only_what_has_changed_is_made_again(with_pipeline):
    project = with_pipeline(SOURCE)
    complete(project)
    (project / "conf/base/vertexai.yml").write_text(f"run_config: {{image: x, caching: true, {GROUPING}}}\n")

    def run_local(*options: str) -> tuple[int, dict[str, str], str]:
        done = run(BIN / "kedro", "vertexai", "run-local", *options, cwd=project, timeout=1500)
        return done.returncode, states_in(done.stdout + done.stderr), done.stdout + done.stderr

    def newest(pattern: str) -> Path:
        return max(project.glob(f".vertexai/{pattern}"), key=lambda path: path.stat().st_mtime_ns)

    code, states, printed = run_local()
    assert (code, states[SEEDED], states["add-up"]) == (1, "FAILED", "NOT_TRIGGERED"), printed
    first = re.search(r"--resume (\S+)", printed)
    assert first, printed

    (project / SEED).write_text("0")
    code, states, printed = run_local("--resume", first[1])
    assert code == 0, printed
    assert Counter(states.values()) == {"TAKEN": MAKERS, "SUCCEEDED": 4}
    assert totals(newest("*/add-up/log.txt")) == [f"TOTAL {2 * COUNT} {SUM}"]

    for seed in (0, 1000):
        (project / SEED).write_text(str(seed))
        code, states, printed = run_local()
        assert code == 0, printed
        again = {name for name, state in states.items() if state == "SUCCEEDED"}
        assert again == {"mlflow-start-run", "add-up", "mlflow-finish-run", SEEDED}, printed
        assert Counter(states.values())["SKIPPED"] == MAKERS  # all others, and cut
        assert totals(newest("*/add-up/log.txt")) == [f"TOTAL {2 * COUNT} {SUM + seed}"]
    tasks = json.loads(newest("*/job.json").read_text())["tasks"]
    gathering = Counter(task["state"] for name, task in tasks.items() if name.startswith("vertexai-gather"))
    # One for each of the makers that are gathered there, and all of the seeded maker's in one or two.
    assert gathering["SUCCEEDED"] in (1, 2)
    assert gathering["SKIPPED"] >= COUNT // 100 - 2
