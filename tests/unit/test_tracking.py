import pytest

from vertexai_mlflow.contract.job import JobIdentity
from vertexai_mlflow.tracking.failures import failure_tags
from vertexai_mlflow.tracking.steps import StepRecord

# Vertex AI's own wording.
MESSAGE = (
    "The DAG failed because some tasks failed. The failed tasks are: [train-forest].; Job (project_id = p, job_id = 1) "
    "is failed due to the above error."
)


def unended(task: str, node: str) -> dict[str, str]:
    return StepRecord(task, state="RUNNING", node=node).as_tag()


def test_the_url_of_a_job_on_vertex_is_its_page_in_the_console():
    job = JobIdentity("demo-1", "7", "projects/42/locations/europe-west1/pipelineJobs/demo-1")
    assert job.url == (
        "https://console.cloud.google.com/vertex-ai/locations/europe-west1/pipelines/runs/demo-1?project=42"
    )


def test_the_url_of_a_local_job_is_its_resource_name():
    assert JobIdentity("demo-1", "7", "file:///somewhere/demo-1").url == "file:///somewhere/demo-1"


@pytest.mark.parametrize(
    ("tags", "message", "expected"),
    [
        pytest.param(
            {**unended("train-forest", "train_forest"), "failed_node": "train_forest", "error": "ValueError: x"},
            MESSAGE,
            {"failed_node": "train_forest"},
            id="the step said itself what it raised",
        ),
        pytest.param(
            {**unended("train-forest", "train_forest"), **unended("other", "other")},
            MESSAGE,
            {"failed_node": "train_forest", "error": MESSAGE},
            id="a killed step said nothing, a cancelled one did not fail",
        ),
        pytest.param(
            {}, MESSAGE, {"failed_node": "train-forest", "error": MESSAGE}, id="killed before it said anything"
        ),
        pytest.param(
            {**unended("a", "a")}, "quota", {"failed_node": "a", "error": "quota"}, id="the platform names no task"
        ),
        pytest.param({}, "", {"error": "The job failed without a message."}, id="nobody says anything"),
        pytest.param(
            {**unended("a", "a"), **unended("b", "b"), "failed_node": "b", "error": "ValueError: b"},
            "The failed tasks are: [a, b].",
            {"failed_node": "a, b"},
            id="two fail, one of them has said why",
        ),
        pytest.param(
            {**unended("b", "b"), "failed_node": "a", "error": "ValueError: a"},
            "The failed tasks are: [b].",
            {"failed_node": "b", "error": "The failed tasks are: [b]."},
            id="a retry mended the one that had said why, another was killed",
        ),
        pytest.param(
            {**unended("train-forest", "train_forest"), "failed_node": "train_forest", "error": "ValueError: x"},
            "The failed tasks are: [train_forest].",
            {"failed_node": "train_forest"},
            id="the platform names the task as people see it",
        ),
        pytest.param(
            {**unended("a", "a"), **unended("b", "b"), "failed_node": "a", "error": "ValueError: a"},
            "The failed tasks are: [exit-handler-1].",
            {"failed_node": "a"},
            id="the platform names the graph, and a step has said why",
        ),
        pytest.param(
            {**unended("a", "a"), "failed_node": "a", "error": "ValueError: a"},
            "quota",
            {"failed_node": "a"},
            id="what a step has said is not replaced by what the platform guesses",
        ),
        pytest.param(
            {**unended("a", "a")},
            "The failed tasks are: [kedro-pipeline].",
            {"failed_node": "a", "error": "The failed tasks are: [kedro-pipeline]."},
            id="the platform names the graph, and a step was killed",
        ),
    ],
)
def test_the_failed_node_and_its_error_come_from_the_step_or_else_from_the_platform(tags, message, expected):
    assert failure_tags(tags, message) == expected


def test_the_tasks_that_failed_are_taken_from_the_list_of_tasks_if_there_is_one():
    """A job's own error names the tasks of its outermost graph, so somebody who has the whole list says which."""
    tags = {**unended("a", "first"), **unended("b", "b")}
    failure = failure_tags(tags, "The failed tasks are: [kedro-pipeline].", ["a"])
    assert failure["failed_node"] == "first"
