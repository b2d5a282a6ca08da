from itertools import combinations

import pytest
from kedro.pipeline import Node, Pipeline
from plans import REMOTE, planned, same
from rich.console import Console

from vertexai_mlflow.compile.datasets import Artifact, Step
from vertexai_mlflow.compile.plan import Plan, Surroundings, make_plan
from vertexai_mlflow.compile.raw import RawData
from vertexai_mlflow.compile.width import count_side_by_side, describe_width
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig
from vertexai_mlflow.settings.resources import Resources
from vertexai_mlflow.show import tables

LOCAL = {"type": "pandas.CSVDataset", "filepath": "data/x.csv"}


PENGUINS = [
    Node(same, "raw", "penguins", name="clean"),
    Node(same, "penguins", ["train", "test"], name="split"),
    Node(same, "train", "forest_model", name="train_forest"),
    Node(same, ["forest_model", "test"], ["chosen_model", "predictions"], name="choose_model"),
    Node(same, "predictions", "confusion_matrix", name="plot_confusion"),
]


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


@pytest.mark.parametrize(
    ("one", "other", "beginning"),
    [
        ("a_b", "a-b", "a-b-"), ("a_b", "a.b", "a-b-"), ("a_b", "A_b", "a-b-"), ("前処理", "学習", "step-"),
        ("Größe", "Grösse", "gr"), ("données", "donnees", "donn"),
    ],
)  # fmt: skip
def test_nodes_whose_letters_are_lost_are_told_apart_by_a_hash(one, other, beginning):
    plan = planned(Node(same, "raw", "x", name=one), Node(same, "raw", "y", name=other))
    names = {step.nodes[0]: step.name for step in plan.steps}
    assert len(set(names.values())) == 2
    for name in names.values():
        assert name.startswith(beginning)
        assert name.isascii()
    # The name of a task does not depend on the order of the nodes, so that a job can be resumed.
    again = planned(Node(same, "raw", "y", name=other), Node(same, "raw", "x", name=one))
    assert {step.nodes[0]: step.name for step in again.steps} == names


def test_a_node_with_plain_letters_gets_no_hash():
    plan = planned(Node(same, "raw", "x", name="Clean_data.v2"), Node(same, "raw", "y", name="前処理"))
    assert {step.nodes[0]: step.name for step in plan.steps}["Clean_data.v2"] == "clean-data-v2"


def test_a_node_cannot_have_the_name_of_a_task_that_mlflow_needs():
    with pytest.raises(UserError, match="reserved for MLflow"):
        planned(Node(same, "raw", "x", name="mlflow_start_run"))


def test_a_dataset_that_nothing_provides_is_named_with_its_node_and_the_cure():
    with pytest.raises(UserError, match=r"'missing' \(input of node 'lost' of pipeline 'p'\).*conf/base/catalog.yml"):
        planned(Node(same, "missing", "x", name="lost"))


def part(**selection) -> Plan:
    whole = Pipeline(PENGUINS)
    lookup = Catalog({"raw": LOCAL, "test": LOCAL}, "catalog.yml").entry
    return make_plan("p", whole.filter(**selection), RunConfig(image="x"), lookup, Surroundings(whole=whole))


@pytest.mark.parametrize(
    ("selection", "lost", "start", "again"),
    [
        ({"from_nodes": ["plot_confusion"]}, ["predictions"], "clean", "plot_confusion"),
        ({"node_names": ["train_forest", "choose_model"]}, ["train"], "clean", "train_forest"),
        ({"from_nodes": ["choose_model"]}, ["forest_model"], "clean", "choose_model"),
        ({"node_names": ["split", "plot_confusion"]}, ["penguins", "predictions"], "clean", "plot_confusion,split"),
    ],
)
def test_a_part_whose_input_is_left_out_is_refused_with_three_ways_on(selection, lost, start, again):
    with pytest.raises(UserError) as error:
        part(**selection)
    *sentences, ways = str(error.value).splitlines()
    assert [sentence.split("'")[1] for sentence in sentences] == lost
    for sentence in sentences:
        assert sentence.endswith(", which is left out, and is not in the catalog, so nothing keeps it.")
    assert ways == (
        f"Start earlier: --from-nodes {start}. Or keep {' and '.join(lost)}: add it to conf/base/catalog.yml, and let a "
        f"run make it once. Or resume a job that has it: run-local --resume JOB --rerun {again}, on Vertex AI: resume "
        f"JOB --rerun {again}"
    )
    part(from_nodes=start.split(","))


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


def printed(plan, width: int = 80) -> list[str]:
    with (console := Console(width=width)).capture() as capture:
        console.print(tables.as_table(plan))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_terminal_of_80_columns_shows_whole_names_and_what_all_steps_share_once():
    resources = {"__default__": {"cpu": 1, "memory": "2Gi"}}
    lines = printed(planned(*PENGUINS, resources=resources))
    assert max(map(len, lines)) <= 80
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows == [
        ["clean", "clean", "raw", "→ penguins"],
        ["split", "split", "→ penguins", "→ train"],
        ["", "", "", "→ test"],
        ["train-forest", "train_forest", "→ train", "→ forest_model"],
        ["choose-model", "choose_model", "→ forest_model", "chosen_model"],
        ["", "", "→ test", "→ predictions"],
        ["plot-confusion", "plot_confusion", "→ predictions", "confusion_matrix"],
    ]
    assert lines[-1] == "Every step: cpu 1, memory 2Gi"


def test_only_what_a_step_asks_for_by_itself_is_in_its_row():
    resources = {"__default__": {"cpu": 1}, "choose_model": {"gpu": 1, "gpu_type": "NVIDIA_L4"}}
    lines = printed(planned(*PENGUINS, resources=resources), width=120)
    assert [line for line in lines if "gpu" in line] == [line for line in lines if line.startswith("│ choose-model")]
    assert lines[-1] == "Every step: cpu 1"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (30, ["→ monthly_sales_by_region"]),
        (20, ["→ monthly_sales_by_", "  region"]),
        (12, ["→ monthly_", "  sales_by_", "  region"]),
        (6, ["→ mont", "hly_", "  sale", "s_", "  by_", "  regi", "on"]),
    ],
)
def test_a_long_name_is_folded_where_a_word_in_it_ends(width, lines):
    with (console := Console(width=width)).capture() as capture:
        console.print(tables._Names(["→ monthly_sales_by_region"]))
    assert [line.rstrip() for line in capture.get().splitlines()] == lines


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
        ({"type": "MemoryDataset"}, "pickle"),
        ({"type": "kedro.io.MemoryDataset", "copy_mode": "assign"}, "pickle"),
        ({"type": "kedro.io.CachedDataset", "dataset": {"type": "MemoryDataset"}}, "pickle"),
        ({"type": "CachedDataset", "dataset": REMOTE}, None),
        ({"type": "partitions.PartitionedDataset", "path": "gs://b/x", "dataset": "pandas.CSVDataset"}, None),
        (REMOTE, None),
        ({"type": "pandas.CSVDataset", "filepath": "data/x.csv"}, "files"),
        ({"type": "partitions.PartitionedDataset", "path": "data/x", "dataset": "pandas.CSVDataset"}, "files"),
        ({"type": "CachedDataset", "dataset": {"type": "pandas.CSVDataset", "filepath": "data/x.csv"}}, "files"),
        (
            {
                "type": "kedro_mlflow.io.artifacts.MlflowArtifactDataset",
                "dataset": {"type": "json.JSONDataset", "filepath": "data/x.json"},
            },
            "files",
        ),
        ({"type": "kedro_mlflow.io.models.MlflowModelTrackingDataset", "flavor": "mlflow.sklearn"}, "model"),
        ({"type": "my.OwnDataset", "metadata": {"vertexai": {"paths": ["data/x.own"]}}}, "files"),
    ],
)
def test_a_dataset_travels_as_its_place_in_the_catalog_demands(config, travels):
    plan = planned(
        Node(same, "raw", "x", name="a"), Node(same, "x", "y", name="b"), catalog={"raw": REMOTE, "x": config}
    )
    assert (plan.artifacts["x"].travels if "x" in plan.artifacts else None) == travels
    assert plan.artifact_inputs == {"a": (), "b": ("x",) if travels else ()}


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


def places(**paths: str) -> dict[str, dict[str, str]]:
    return {name: {**LOCAL, "filepath": path} for name, path in paths.items()}


def test_the_files_of_a_dataset_on_local_disk_are_carried_to_the_steps_that_take_it():
    plan = planned(*LEADING, catalog={"raw": REMOTE, "x": LOCAL}, root="gs://bucket")
    assert plan.artifacts == {"x": Artifact("data_x", travels="files")}
    assert plan.artifact_inputs == {"make": (), "take": ("x",)}
    together = {"grouping": {"cls": "ChainNodeGrouper"}}
    assert len(planned(*LEADING, catalog={"raw": REMOTE, "x": LOCAL}, root="gs://bucket", **together).steps) == 1


def test_artifacts_belong_to_places_so_a_transcoded_dataset_is_carried_once():
    nodes = Node(same, "raw", "a@pandas", name="write"), Node(same, "a@spark", "end", name="read")
    plan = planned(*nodes, catalog={"raw": REMOTE, "a@pandas": LOCAL, "a@spark": LOCAL}, root="gs://bucket")
    assert plan.artifact_inputs == {"write": (), "read": ("a@pandas",)}


def test_a_step_that_reads_a_folder_takes_the_files_that_others_have_written_into_it():
    nodes = [
        Node(same, "raw", "a", name="first"), Node(same, "raw", "b", name="second"),
        Node(same, ["a", "b", "all"], "end", name="read"),
    ]  # fmt: skip
    catalog = {"raw": REMOTE, **places(a="data/parts/a.csv", b="data/parts/b.csv")}
    catalog["all"] = {"type": "partitions.PartitionedDataset", "path": "data/parts", "dataset": "pandas.CSVDataset"}
    plan = planned(*nodes, catalog=catalog, root="gs://bucket")
    assert plan.artifact_inputs["read"] == ("a", "b")
    assert plan.raw == ()


def test_what_cannot_work_on_disks_of_their_own_is_said_all_at_once():
    nodes = [
        Node(same, "raw", "a", name="first"), Node(same, "raw", "b", name="second"), Node(same, "raw", "out", name="third"),
    ]  # fmt: skip
    catalog = {"raw": REMOTE, **places(a="data/x.csv", b="./data/x.csv", out="results/out.csv")}
    with pytest.raises(UserError) as error:
        planned(*nodes, catalog=catalog, root="gs://bucket")
    message = str(error.value)
    assert "Step 'first' writes dataset 'a' to data/x.csv, where step 'second' writes as well." in message
    assert "Dataset 'out' of step 'third' is written to results/out.csv, but a step can write only" in message
    # Without a root, all steps run on this machine and share its disk.
    assert planned(*nodes, catalog=catalog).steps


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb", "database": "x.duckdb"}}, "x.duckdb"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite:///data/t.db"}}, "sqlite:///data/t.db"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "con": "sqlite+pysqlite:///data/t.db"}, "sqlite"),
    ],
)  # fmt: skip
def test_a_database_that_is_a_file_cannot_be_shared_by_containers(entry, place):
    with pytest.raises(
        UserError, match=rf"the database {place}.* is a file on the disk of one container. Use a database"
    ):
        planned(*LEADING, catalog={"raw": REMOTE, "x": entry}, root="gs://bucket")
    assert planned(*LEADING, catalog={"raw": REMOTE, "x": entry}).steps


def test_a_database_that_credentials_name_is_a_warning():
    entry = {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": "warehouse"}
    (warning,) = planned(*LEADING, catalog={"raw": REMOTE, "x": entry}, root="gs://bucket").warnings
    assert "Dataset 'x' crosses steps in a database that its credentials name" in warning


def test_what_is_only_written_is_kept_and_what_is_only_read_must_be_in_the_image():
    plot = {"type": "kedro_mlflow.io.artifacts.MlflowArtifactDataset", "dataset": LOCAL}
    plan = planned(*LEADING, catalog={"raw": LOCAL, **places(y="data/y.csv")}, root="gs://bucket")
    assert plan.raw == (RawData("data/x.csv", ("raw",), ("make",), "data_data_x_csv"),)
    assert plan.artifacts["y"] == Artifact("data_y", travels="files")
    assert plan.warnings == ()
    # MLflow keeps it already.
    assert "y" not in planned(*LEADING, catalog={"raw": REMOTE, "y": plot}, root="gs://bucket").artifacts


@pytest.mark.parametrize("path", ["gs://b/x", "s3a://b/x", "dbfs:/x", "abfs://b/x", "/gcs/b/x", "https://h/x"])
def test_steps_can_exchange_a_dataset_at_a_remote_path(path):
    assert planned(*LEADING, catalog={"raw": REMOTE, "x": {**LOCAL, "filepath": path}}, root="gs://b").warnings == ()


@pytest.mark.parametrize("path", ["data/x", "./data/x", "file://data/x", "~/x", "/tmp/x"])
def test_a_dataset_at_a_local_path_is_carried(path):
    plan = planned(*LEADING, catalog={"raw": REMOTE, "x": {**LOCAL, "filepath": path}}, root="gs://b")
    assert plan.artifacts["x"].travels == "files"


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
        "model": Artifact("data_model", "system.Model", "", "gs://b/m", {"framework": "sklearn"}),
        "scores": Artifact("data_scores", "system.Metrics", ""),
        "seen": Artifact("data_seen", "system.Dataset"),
    }


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"typ": "Model"}, "catalog.yml: x.metadata.vertexai: unknown key 'typ'. Did you mean 'type'?"),
        ({"type": "Modle"}, "there is no artifact type 'Modle'. Did you mean 'Model'?"),
        ("Model", "takes 'type', 'metadata' and 'paths', got 'Model'"),
    ],
)
def test_a_mistake_in_the_lineage_of_a_dataset_is_explained(message, sentence):
    with pytest.raises(UserError) as error:
        planned(*LEADING, catalog={"raw": REMOTE, "x": {**REMOTE, "metadata": {"vertexai": message}}})
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("edges", "number"),
    [
        ({"a": "", "b": "a", "c": "b"}, 1),
        ({"a": "", "b": "a", "c": "a", "d": "b c"}, 2),
        ({"a": "", "b": "", "c": "", "d": "a b c"}, 3),
        # Two fans at different depths run side by side all the same.
        ({"r": "", "s1": "r", "s2": "r", "q1": "", "q2": "q1", "q3": "q2", "t1": "q3", "t2": "q3", "t3": "q3"}, 5),
        # One chain has to be given up for another one.
        ({"a": "", "b": "", "c": "a b", "d": "a"}, 2),
        ({}, 0),
    ],
)
def test_steps_that_may_run_side_by_side_are_counted(edges, number):
    steps = [Step(name, (name,), (), (), tuple(after.split()), Resources()) for name, after in edges.items()]
    assert count_side_by_side(steps) == number
    independent = {
        names for size in range(len(edges) + 1) for names in combinations(edges, size)
        if not any(step in earlier(edges, other) for step in names for other in names)
    }  # fmt: skip
    assert number == max(map(len, independent))


def earlier(edges: dict[str, str], name: str) -> set[str]:
    return set(edges[name].split()).union(*(earlier(edges, before) for before in edges[name].split()))


def test_the_cpus_of_the_widest_part_are_those_of_whole_machines():
    resources = {"__default__": {"cpu": "500m"}, "c": {"cpu": "16"}}
    plan = planned(*(Node(same, "raw", name, name=name) for name in "abc"), resources=resources)
    assert describe_width(plan.steps) == (
        "up to 3 steps side by side, which takes 24 CPUs of the quota (a new project has 20 or 42)"
    )
    assert describe_width(plan.steps[:1]) == "one step at a time, which takes 4 CPUs of the quota"
