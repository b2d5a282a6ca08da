"""What very many steps hand to one, and one to very many, arrives: on disks of their own and on one, resumed and cached.

There are as few of them as need gathering tasks. ``GATHERED=1000`` runs the same with a thousand, in many minutes.
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

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("GATHERED", "140"))
SOURCE = """
from functools import partial

from kedro.pipeline import Node, Pipeline

COUNT = 140


def forecast(number, factor):
    return number * factor


def seeded(number, factor, seed):
    return number * factor + seed


def failing(number, factor):
    raise ValueError("planted")


def cut(factor):
    return [number * factor for number in range(COUNT)]


def add_up(*numbers):
    print("TOTAL", len(numbers), sum(numbers))
    return sum(numbers)


def create_pipeline(**_kwargs):
    functions = {5: seeded, 7: failing}
    made = [f"forecast_of_{number}" for number in range(COUNT)]
    pieces = [f"piece_{number}" for number in range(COUNT)]
    nodes = [
        Node(partial(functions.get(number, forecast), number), ["params:factor", *(["seed"] if number == 5 else [])], name, name=f"forecast_{number}")
        for number, name in enumerate(made)
    ]
    nodes.append(Node(cut, "params:factor", pieces, name="cut"))
    return Pipeline([*nodes, Node(add_up, [*made, *pieces], "total", name="add_up")])
""".replace("COUNT = 140", f"COUNT = {COUNT}")
MENDED = ('raise ValueError("planted")', "return number * factor")
CATALOG = "seed: {type: json.JSONDataset, filepath: data/01_raw/seed.json}\n"
SUM = 3 * sum(range(COUNT)) * 2
GATHERINGS = -(-(COUNT + 1) // 100)  # the pieces are one artifact


def edit(project: Path, before: str, after: str) -> None:
    file = project / "src/test_project/pipelines/under_test/__init__.py"
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))


def complete(project: Path) -> None:
    (project / "conf/base/parameters.yml").write_text("factor: 3\n")
    (project / "conf/base/catalog.yml").write_text(CATALOG)
    (project / "data/01_raw").mkdir(parents=True, exist_ok=True)
    (project / "data/01_raw/seed.json").write_text("0")


def totals(log: Path) -> list[str]:
    return re.findall(r"^TOTAL .*", log.read_text(), re.MULTILINE)


def states_in(printed: str) -> dict[str, str]:
    return {name: state for state, name in re.findall(r"^([A-Z_]+) +([a-z][\w-]*)", printed, re.MULTILINE)}


@pytest.mark.timeout(3600)
def test_what_is_gathered_on_disks_of_their_own_is_resumed_when_one_has_failed(
    with_pipeline, launchable, google, iap, vertex, cloud, mlflow_url, request
):
    with cloud_storage() as storage:
        vertex.own_disks = True
        vertex.environment = {**vertex.environment, **storage.on_vertex}
        project = launchable(with_pipeline(SOURCE, **answers(iap)))
        complete(project)
        run(
            BIN / "kedro",
            "vertexai",
            "-e",
            "cloud",
            "upload-data",
            "seed",
            cwd=project,
            **google.environment,
            **storage.on_vertex,
        )

        def kedro(*arguments: str) -> tuple[int, str]:
            argv = ("vertexai", "-e", "cloud", *arguments)
            done = run(BIN / "kedro", *argv, cwd=project, timeout=3000, **google.environment, **storage.on_vertex)
            return done.returncode, done.stdout + done.stderr

        code, printed = kedro("run-once", "--job-id", "first", "--wait-for-completion")
        assert (code, "  ValueError: planted" in printed) == (1, True), printed
        assert states_in(printed)["forecast-7"] == "FAILED"

        edit(project, *MENDED)
        code, printed = kedro("resume", "first", "--job-id", "second", "--wait-for-completion")
        assert code == 0, printed
        taken = re.findall(r"^TAKEN +(\S+) from first$", printed, re.MULTILINE)
        ended = re.findall(r"^SUCCEEDED +(\S+)", printed, re.MULTILINE)
        # On one machine, tasks run one after the other, and none that has not begun does so after a failure.
        assert len(taken) + len(ended) == COUNT + 2 + 2
        assert {"forecast-7", "add-up"} <= set(ended)
        logs = project.parent / "own-disks/second/logs"
        assert totals(logs / "add-up.txt") == [f"TOTAL {2 * COUNT} {SUM}"]
        assert len([path for path in logs.glob("vertexai-gather-*.txt") if path.stat().st_size >= 0]) == GATHERINGS
        code, printed = kedro("status", "second")
        assert code == 0, printed
        assert ("add-up" in printed, "vertexai-gather" in printed) == (True, False)


@pytest.mark.timeout(3600)
def test_of_what_is_gathered_on_one_disk_only_what_has_changed_is_made_again(with_pipeline):
    project = with_pipeline(SOURCE)
    complete(project)
    # So many artifacts fit on this machine, but not with the names that they have in the cloud.
    (project / "conf/base/vertexai.yml").write_text("run_config: {image: x, root: 'gs://bucket/root', caching: true}\n")

    def run_local(*options: str) -> tuple[int, dict[str, str], str]:
        done = run(BIN / "kedro", "vertexai", "run-local", *options, cwd=project, timeout=3000)
        return done.returncode, states_in(done.stdout + done.stderr), done.stdout + done.stderr

    def total() -> list[str]:
        return totals(max(project.glob(".vertexai/*/add-up/log.txt"), key=lambda path: path.stat().st_mtime_ns))

    code, states, printed = run_local()
    assert (code, states["forecast-7"], states["add-up"]) == (1, "FAILED", "NOT_TRIGGERED"), printed
    first = re.search(r"--resume (\S+)", printed)
    assert first, printed

    edit(project, *MENDED)
    code, states, printed = run_local("--resume", first[1])
    assert code == 0, printed
    assert Counter(states.values()) == {"TAKEN": COUNT, "SUCCEEDED": 4}
    assert (states["forecast-7"], total()) == ("SUCCEEDED", [f"TOTAL {2 * COUNT} {SUM}"])

    # Another job than the resumed one makes all anew, and the next finds it in the cache.
    code, states, printed = run_local()
    assert (code, states["add-up"]) == (0, "SUCCEEDED"), printed
    code, states, printed = run_local()
    assert Counter(states.values()) == {"SKIPPED": COUNT + 2, "SUCCEEDED": 2}, printed
    (project / "data/01_raw/seed.json").write_text("1000")
    code, states, printed = run_local()
    assert code == 0, printed
    again = sorted(name for name, state in states.items() if state == "SUCCEEDED")
    assert again == ["add-up", "forecast-5", "mlflow-finish-run", "mlflow-start-run"]
    assert total() == [f"TOTAL {2 * COUNT} {SUM + 1000}"]
    job = max(project.glob(".vertexai/*/job.json"), key=lambda path: path.stat().st_mtime_ns)
    gathering = Counter(
        task["state"]
        for name, task in json.loads(job.read_text())["tasks"].items()
        if name.startswith("vertexai-gather")
    )
    assert gathering == {"SUCCEEDED": 1, "SKIPPED": GATHERINGS - 1}
