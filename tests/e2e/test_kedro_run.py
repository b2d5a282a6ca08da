"""``kedro run`` in a generated project, with each of Kedro's runners, as docs/how-to/run-on-this-machine.md says."""

import mlflow
import pytest
from pipeline_runs import only_run
from running import BIN, ROOT, run

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/how-to/run-on-this-machine.md").read_text()


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner"])
def test_these_runners_leave_one_run_with_everything_in_it(bake, runner):
    assert f"| `{runner}` | works" in PAGE
    project = bake()
    done = run(BIN / "kedro", "run", "--runner", runner, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr

    mlflow_run = only_run(project)
    assert mlflow_run.info.status == "FINISHED"
    assert mlflow_run.data.params["forest.n_estimators"] == "100"
    assert mlflow_run.data.metrics["metrics.accuracy"] > 0.9
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    assert [item.path for item in client.list_artifacts(mlflow_run.info.run_id)] == ["confusion_matrix.png"]
    (model,) = client.search_logged_models([mlflow_run.info.experiment_id])
    assert (model.name, model.source_run_id) == ("model", mlflow_run.info.run_id)


def test_the_parallel_runner_refuses_an_artifact_dataset_as_the_page_says(bake):
    done = run(BIN / "kedro", "run", "--runner", "ParallelRunner", cwd=bake())
    assert done.returncode == 1
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("AttributeError: ")]
    assert message in PAGE.splitlines()
