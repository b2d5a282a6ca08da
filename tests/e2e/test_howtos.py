"""Every how-to with an example: its files in a fresh project, its commands run one after the other."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from running import BIN, ROOT, run

pytestmark = pytest.mark.slow

# The node of models-to-production asks Google; tests/unit/test_docs.py builds its request.
PAGES = {
    path.stem: path.read_text()
    for path in (ROOT / "docs/how-to").glob("*.md")
    if re.search("^# src/", path.read_text(), re.M) and path.stem != "models-to-production"
}
PAGES["run-a-part"] = (ROOT / "docs/how-to/run-a-part.md").read_text()


@dataclass
class Followed:
    """What came of following a page.

    Args:
        project: the project.
        printed: what each command printed, in order.
    """

    project: Path
    printed: list[str]


@pytest.fixture
def follow(bake):
    def follow(page: str) -> Followed:
        text = PAGES[page]
        files = dict(re.findall(r"^```\w+\n# ((?:src|conf)/\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        project = bake(project_name="My Project", example="no" if "# src/" in text else "yes")
        for name, content in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(content)
        printed = []
        # What needs a cloud is tried elsewhere, against stand-ins.
        commands = re.findall(r"^\$ (kedro (?!vertexai -e cloud).*?)(?:  # exit code (\d))?$", text, re.MULTILINE)
        assert commands
        for command, code in commands:
            done = run(BIN / "kedro", *shlex.split(command)[1:], cwd=project)
            assert done.returncode == int(code or 0), done.stdout + done.stderr
            printed.append(done.stdout + done.stderr)
        return Followed(project, printed)

    return follow


def states(printed: str) -> dict[str, str]:
    """Task → how it ended."""
    return {name: state for state, name in re.findall(r"^([A-Z_]+) +([a-z][\w-]*) ", printed, re.MULTILINE)}


def test_every_example_is_tried():
    tried = {
        "data-between-steps",
        "group-nodes",
        "resources",
        "machines",
        "cache-results",
        "run-something-at-the-end",
        "run-a-part",
    }
    assert set(PAGES) == tried


def test_data_between_steps(follow):
    followed = follow("data-between-steps")
    assert json.loads((followed.project / "data/receipt.json").read_text()) == {"total": 3.1}
    (output,) = (followed.project / ".vertexai").glob("*/pay/executor_output.json")
    (receipt,) = json.loads(output.read_text())["artifacts"]["data_receipt"]["artifacts"]
    file = followed.project / "data/receipt.json"
    about = {"path": "data/receipt.json", "class": "json.JSONDataset", "bytes": file.stat().st_size, "files": 1}
    made_by = {"job": output.parents[1].name, "step": "pay"}
    assert receipt["metadata"] == {**about, **made_by, "currency": "EUR", "total": 3.1}


def test_group_nodes(follow):
    planned, done = follow("group-nodes").printed
    assert re.search(r"count +│ numbers +│ +│ → numbers", planned)
    assert list(states(done)) == ["mlflow-start-run", "count", "report", "mlflow-finish-run"]


def test_resources(follow):
    (planned,) = follow("resources").printed
    words = " ".join(planned.replace("│", " ").split())
    assert "cpu 2, memory 4Gi, gpu 1, gpu type NVIDIA_L4, retries 2, timeout 7200" in words
    assert "cpu 500m, memory 1Gi, image my-project-reports:latest" in words


def test_machines(follow):
    followed = follow("machines")
    planned, done = followed.printed
    words = " ".join(planned.replace("│", " ").split())
    assert "retries 3, machine type g2-standard-24, spot, boot disk pd-ssd 500 GB, OMP_NUM_THREADS=12" in words
    assert set(states(done).values()) == {"SUCCEEDED"}


def test_cache_results(follow):
    first, second = follow("cache-results").printed
    assert set(states(first).values()) == {"SUCCEEDED"}
    assert {name for name, state in states(second).items() if state == "SKIPPED"} == {"fetch", "features"}
    (job,) = re.findall(r"^(my-project-\S+): SUCCEEDED", first, re.MULTILINE)
    assert re.search(rf"^SKIPPED +features +taken from {job} of 20", second, re.MULTILINE)


def test_run_something_at_the_end(follow):
    followed = follow("run-something-at-the-end")
    (job,) = (folder.name for folder in (followed.project / ".vertexai").glob("[!.]*"))
    assert (followed.project / "message.txt").read_text() == f"{job}: SUCCEEDED \n"


def test_run_a_part(follow):
    followed = follow("run-a-part")
    planned, done, refused = followed.printed
    assert "Pipeline __default__: 2 steps" in planned
    assert list(states(done)) == ["mlflow-start-run", "clean", "split", "train-linear", "mlflow-finish-run"]
    assert "Dataset 'predictions' (input of node 'plot_confusion'" in refused
    client = mlflow.MlflowClient(f"sqlite:///{followed.project}/mlflow.db")
    (mlflow_run,) = client.search_runs([client.get_experiment_by_name("my_project").experiment_id])
    assert mlflow_run.data.tags["latest_node"] == "train_linear"
