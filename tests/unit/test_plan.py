import pytest
from kedro.pipeline import Node, Pipeline
from starter.errors import UserError
from starter.vertexai.compile.catalog import Catalog
from starter.vertexai.compile.datasets import Artifact
from starter.vertexai.compile.plan import make_plan
from starter.vertexai.settings.models import RunConfig
from starter.vertexai.settings.resources import Resources
from starter.vertexai.show import tables

REMOTE = {"type": "pandas.ParquetDataset", "filepath": "gs://bucket/x.parquet"}
LOCAL = {"type": "pandas.CSVDataset", "filepath": "data/x.csv"}


def same(*args):
    return args


def planned(*nodes: Node, catalog: tuple[str, ...] | dict = ("raw",), **run_config):
    config = catalog if isinstance(catalog, dict) else dict.fromkeys(catalog, REMOTE)
    return make_plan("p", Pipeline(nodes), RunConfig(image="x", **run_config), Catalog(config, "catalog.yml").entry)


def test_each_node_becomes_a_step_with_its_inputs_and_outputs():
    plan = planned(
        Node(same, ["raw", "params:a"], "made", name="First"),
        Node(same, ["made", "parameters"], "kept", name="second"),
        Node(same, "kept", "end", name="third"),
        catalog=("raw", "kept"),
    )
    assert [(step.name, step.nodes, step.inputs, step.outputs, step.after) for step in plan.steps] == [
        ("first", ("First",), ("raw",), ("made",), ()),
        ("second", ("second",), ("made",), ("kept",), ("first",)),
        ("third", ("third",), ("kept",), ("end",), ("second",)),
    ]
    assert plan.artifacts == {"made": Artifact("data_made")}


def test_datasets_whose_names_sanitise_alike_get_artifacts_of_their_own():
    plan = planned(Node(same, "raw", ["a#b", "a:b"], name="one"), Node(same, ["a#b", "a:b"], "end", name="two"))
    assert {name: artifact.key for name, artifact in plan.artifacts.items()} == {"a#b": "data_a_b", "a:b": "data_a_b_2"}


@pytest.mark.parametrize("other", ["a-b", "a.b", "A_b"])
def test_two_nodes_that_would_become_the_same_task_are_both_named(other):
    with pytest.raises(UserError, match=r"'a_b'.*both become the task 'a-b'") as error:
        planned(Node(same, "raw", "x", name="a_b"), Node(same, "raw", "y", name=other))
    assert f"'{other}'" in str(error.value)


def test_a_node_cannot_have_the_name_of_a_task_that_mlflow_needs():
    with pytest.raises(UserError, match="reserved for MLflow"):
        planned(Node(same, "raw", "x", name="mlflow_start_run"))


def test_a_dataset_that_nothing_provides_is_named_with_its_node_and_the_cure():
    with pytest.raises(UserError, match=r"'missing' \(input of node 'lost' of pipeline 'p'\).*conf/base/catalog.yml"):
        planned(Node(same, "missing", "x", name="lost"))


def test_the_most_specific_resources_win_field_by_field():
    plan = planned(
        Node(same, "raw", "x", name="plain"),
        Node(same, "x", "y", name="big", tags="heavy"),
        resources={"__default__": {"cpu": 1, "memory": "1Gi"}, "heavy": {"memory": "8Gi"}, "big": {"cpu": 4}},
    )
    assert [step.resources for step in plan.steps] == [
        Resources(cpu="1", memory="1Gi"),
        Resources(cpu="4", memory="8Gi"),
    ]


def test_the_graph_shows_the_datasets_on_its_edges():
    plan = planned(Node(same, "raw", "made", name="one"), Node(same, "made", "end", name="two"))
    assert tables.as_mermaid(plan).splitlines() == [
        "flowchart TD",
        "    start([mlflow-start-run])",
        '    s0["one"]',
        '    s1["two"]',
        "    finish([mlflow-finish-run])",
        "    start --> s0",
        '    s0 -->|"made"| s1',
        "    s1 -.-> finish",
    ]


def test_a_dataset_that_is_used_inside_and_outside_its_group_travels_as_an_artifact():
    plan = planned(
        Node(same, "raw", "x", name="make", tags="group.g"),
        Node(same, "x", "y", name="inside", tags="group.g"),
        Node(same, ["x", "y"], "z", name="outside"),
        grouping={"cls": "TagNodeGrouper"},
    )
    group, outside = plan.steps
    assert (group.nodes, group.inputs, group.outputs) == (("make", "inside"), ("raw",), ("x", "y"))
    assert outside.after == ("g",)
    assert set(plan.artifacts) == {"x", "y"}


@pytest.mark.parametrize(
    ("config", "travels"),
    [
        ({"type": "MemoryDataset"}, True),
        ({"type": "kedro.io.MemoryDataset", "copy_mode": "assign"}, True),
        ({"type": "kedro.io.CachedDataset", "dataset": {"type": "MemoryDataset"}}, True),
        ({"type": "CachedDataset", "dataset": REMOTE}, False),
        ({"type": "partitions.PartitionedDataset", "path": "gs://b/x", "dataset": "pandas.CSVDataset"}, False),
        (REMOTE, False),
    ],
)
def test_a_dataset_that_the_catalog_keeps_in_memory_travels_as_an_artifact(config, travels):
    plan = planned(
        Node(same, "raw", "x", name="a"), Node(same, "x", "y", name="b"), catalog={"raw": REMOTE, "x": config}
    )
    assert ("x" in plan.artifacts and plan.artifacts["x"].travels) is travels


def test_a_dataset_of_a_factory_is_kept_by_the_catalog():
    plan = planned(
        Node(same, "raw", "ns.x", name="a"), Node(same, "ns.x", "y", name="b"),
        catalog={"raw": REMOTE, "{namespace}.{name}": {"type": "pandas.CSVDataset", "filepath": "gs://b/{name}.csv"}},
    )  # fmt: skip
    assert plan.artifacts == {}


def test_a_transcoded_dataset_needs_a_catalog_entry_for_each_of_its_names():
    nodes = Node(same, "raw", "a@pandas", name="write"), Node(same, "a@spark", "end", name="read")
    plan = planned(*nodes, catalog={"raw": REMOTE, "a@pandas": REMOTE, "a@spark": REMOTE})
    assert plan.steps[1].after == ("write",)
    assert plan.artifacts == {}
    with pytest.raises(UserError, match=r"'a@spark' of pipeline 'p' is transcoded.*filepath of 'a'"):
        planned(*nodes, catalog={"raw": REMOTE, "a@pandas": REMOTE})
    with pytest.raises(UserError, match="'a@pandas' of pipeline 'p' is transcoded"):
        planned(*nodes)


LEADING = Node(same, "raw", "x", name="make"), Node(same, "x", "y", name="take")


def test_two_steps_cannot_exchange_a_dataset_on_a_containers_own_disk():
    catalog = {"raw": REMOTE, "x": LOCAL}
    with pytest.raises(UserError) as error:
        planned(*LEADING, catalog=catalog, root="gs://bucket")
    said = str(error.value)
    assert "'x' is made in step 'make' and taken in step 'take', but data/x.csv is on a container's own disk" in said
    assert "Take it out of the catalog" in said
    assert "give it a remote path" in said
    # Without a root, all steps run on this machine and share its disk.
    assert planned(*LEADING, catalog=catalog).artifacts == {}
    together = {"grouping": {"cls": "ChainNodeGrouper"}}
    assert len(planned(*LEADING, catalog=catalog, root="gs://bucket", **together).steps) == 1


def test_two_steps_cannot_exchange_a_transcoded_dataset_on_a_containers_own_disk():
    nodes = Node(same, "raw", "a@pandas", name="write"), Node(same, "a@spark", "end", name="read")
    with pytest.raises(UserError, match="made in step 'write' and taken in step 'read'"):
        planned(*nodes, catalog={"raw": REMOTE, "a@pandas": LOCAL, "a@spark": LOCAL}, root="gs://bucket")


def test_the_user_is_warned_of_files_that_are_lost_and_told_of_files_that_the_image_needs():
    plot = {"type": "kedro_mlflow.io.artifacts.MlflowArtifactDataset", "dataset": LOCAL}
    plan = planned(*LEADING, catalog={"raw": LOCAL, "y": {**LOCAL, "filepath": "data/y.csv"}}, root="gs://bucket")
    assert plan.read_from_image == ("data/x.csv",)
    (warning,) = plan.warnings
    assert "'y' of step 'take' is written to data/y.csv on the container's own disk and lost with it" in warning
    assert planned(*LEADING, catalog={"raw": REMOTE, "y": plot}, root="gs://bucket").warnings == ()


@pytest.mark.parametrize("path", ["gs://b/x", "s3a://b/x", "dbfs:/x", "abfs://b/x", "/gcs/b/x", "https://h/x"])
def test_steps_can_exchange_a_dataset_at_a_remote_path(path):
    assert planned(*LEADING, catalog={"raw": REMOTE, "x": {**LOCAL, "filepath": path}}, root="gs://b").warnings == ()


@pytest.mark.parametrize("path", ["data/x", "/data/x", "file:///data/x", "~/x"])
def test_steps_cannot_exchange_a_dataset_at_a_local_path(path):
    with pytest.raises(UserError, match="own disk"):
        planned(*LEADING, catalog={"raw": REMOTE, "x": {**LOCAL, "filepath": path}}, root="gs://b")


def test_lineage_gets_types_and_metadata_from_the_catalog():
    plan = planned(
        Node(same, "raw", ["model", "scores", "table", "seen"], name="make"),
        Node(same, ["seen", "model"], None, name="take"),
        catalog={
            "raw": REMOTE,
            "model": {"type": "pickle.PickleDataset", "filepath": "gs://b/m", "metadata": {"vertexai": {"type": "Model", "metadata": {"framework": "sklearn"}}}},
            "scores": {"type": "kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset"},
            "table": REMOTE,
            "seen": {"type": "MemoryDataset", "metadata": {"vertexai": {"type": "system.Dataset"}}},
        },
    )  # fmt: skip
    assert plan.artifacts == {
        "model": Artifact("data_model", "system.Model", False, "gs://b/m", {"framework": "sklearn"}),
        "scores": Artifact("data_scores", "system.Metrics", False),
        "seen": Artifact("data_seen", "system.Dataset"),
    }


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"typ": "Model"}, "catalog.yml: x.metadata.vertexai: unknown key 'typ'. Did you mean 'type'?"),
        ({"type": "Modle"}, "there is no artifact type 'Modle'. Did you mean 'Model'?"),
        ("Model", "takes 'type' and 'metadata', got 'Model'"),
    ],
)
def test_a_mistake_in_the_lineage_of_a_dataset_is_explained(said, sentence):
    with pytest.raises(UserError) as error:
        planned(*LEADING, catalog={"raw": REMOTE, "x": {**REMOTE, "metadata": {"vertexai": said}}})
    assert sentence in str(error.value)
