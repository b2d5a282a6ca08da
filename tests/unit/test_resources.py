import pytest
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.plan import Step, make_plan
from vertexai_mlflow.contract.catalog import Entry
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig
from vertexai_mlflow.settings.resources import SHARING, Resources


def same(*args):
    return args


def steps(*nodes: Node, **run_config) -> dict[str, Step]:
    kept = {"raw": Entry("x", "data/raw"), "kept": Entry("x", "data/kept"), "table": Entry("x")}
    plan = make_plan("p", Pipeline(nodes), RunConfig(image="x", **run_config), kept.get)
    return {step.name: step for step in plan.steps}


def resources(*nodes: Node, **run_config) -> list[Resources]:
    return [step.resources for step in steps(*nodes, **run_config).values()]


ONE = Node(same, "raw", "a", name="one", tags=["big", "group.g"])
TWO = Node(same, "a", "b", name="two", tags="group.g")
BY_TAG = {"cls": "TagNodeGrouper"}


def test_an_entry_for_a_group_wins_over_one_for_a_node_then_a_tag_then_the_default():
    entries = {"__default__": {"cpu": 1, "memory": "1Gi"}, "big": {"cpu": 2}, "one": {"cpu": 3}}
    assert [step_resources.cpu for step_resources in resources(ONE, TWO, resources=entries)] == ["3", "1"]
    assert [
        step_resources.cpu
        for step_resources in resources(ONE, TWO, resources={**entries, "g": {"cpu": 4}}, grouping=BY_TAG)
    ] == ["4"]


@pytest.mark.parametrize(
    ("memory", "limit"), [("4G", "4G"), ("512M", "512M"), ("4Gi", "5G"), ("512Mi", "1G"), ("1Ti", "1100G"), ("2000000000", "2G")]
)  # fmt: skip
def test_memory_is_asked_for_in_the_units_that_vertex_ai_documents_rounded_up(memory, limit):
    assert Resources(memory=memory).memory_limit == limit


def test_a_group_asks_for_the_most_that_a_node_asks_for_and_for_the_time_of_all():
    entries = {
        "one": {"cpu": "1500m", "memory": "1000M", "retries": 1, "timeout": "1h"},
        "two": {"cpu": 1, "memory": "1Gi", "gpu_type": "NVIDIA_L4", "gpu": 2, "timeout": 90},
    }
    assert resources(ONE, TWO, resources=entries, grouping=BY_TAG) == [
        Resources(cpu="1500m", memory="1Gi", gpu=2, gpu_type="NVIDIA_L4", retries=1, timeout=3690)
    ]


def test_some_steps_can_have_another_image_and_a_gpu():
    entries = {"big": {"image": "cuda", "gpu_type": "NVIDIA_L4"}}
    assert resources(ONE, TWO, resources=entries) == [Resources(image="cuda", gpu=1, gpu_type="NVIDIA_L4"), Resources()]


def test_a_gpu_may_be_named_by_node_selectors_as_in_kedro_vertexai():
    selectors = {"big": {"cloud.google.com/gke-accelerator": "NVIDIA_TESLA_T4"}}
    entries = {"big": {"gpu": "2"}}
    assert resources(ONE, resources=entries, node_selectors=selectors) == [Resources(gpu=2, gpu_type="NVIDIA_TESLA_T4")]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"big": {"cpu": 1}, "group.g": {"cpu": 2}}, "the tags of node 'one' disagree (big: 1, group.g: 2). Add an entry 'one', which takes precedence over its tags."),
        ({"one": {"gpu_type": "NVIDIA_L4"}, "two": {"gpu_type": "NVIDIA_TESLA_T4"}}, "nodes of step 'g' ask for different values of 'gpu_type' (NVIDIA_L4, NVIDIA_TESLA_T4)"),
        ({"one": {"image": "cuda"}}, "nodes of step 'g' ask for different values of 'image' (None, cuda)"),
    ],
)  # fmt: skip
def test_entries_that_contradict_each_other_are_named(entries, sentence):
    with pytest.raises(UserError) as error:
        resources(ONE, TWO, resources=entries, grouping=BY_TAG)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("entries", "cpu"),
    [
        ({"o*": {"cpu": 2}, "on*": {"cpu": 3}, "big": {"cpu": 4}, "__default__": {"cpu": 5}}, "3"),
        ({"o*": {"cpu": 2}, "one": {"cpu": 6}}, "6"),
        ({"tw*": {"cpu": 2}, "big": {"cpu": 4}}, "4"),
        ({"on*": {"memory": "1G"}, "__default__": {"cpu": 5}}, "5"),
        ({"on*": {"cpu": 2}, "o?e": {"cpu": 2}}, "2"),
    ],
)
def test_a_pattern_that_a_nodes_name_fits_counts_after_the_name_and_before_tags(entries, cpu):
    assert resources(ONE, resources=entries)[0].cpu == cpu


def test_two_patterns_of_one_length_must_not_disagree():
    with pytest.raises(UserError) as error:
        resources(ONE, resources={"on*": {"cpu": 2}, "o?e": {"cpu": 3}})
    assert str(error.value) == (
        "run_config.resources.*.cpu: the patterns that fit node 'one' disagree (on*: 2, o?e: 3). Add an entry 'one', which "
        "takes precedence over patterns."
    )


def test_patterns_say_which_steps_are_cached():
    assert cached(ONE, TWO, caching={"o*": True}) == ["one"]


def test_the_nodes_of_a_step_share_a_machine_that_one_of_them_asks_for_and_all_their_variables():
    entries = {"one": {"machine_type": "n1-standard-8", "spot": True, "env": {"A": 1}}, "two": {"env": {"B": 2}}}
    (both,) = resources(ONE, TWO, resources=entries, grouping=BY_TAG)
    assert (both.machine_type, both.spot, both.env) == ("n1-standard-8", False, {"A": "1", "B": "2"})
    with pytest.raises(UserError, match=r"nodes of step 'g' ask for different values of 'env' \(1, 2\)"):
        resources(ONE, TWO, resources={"one": {"env": {"A": 1}}, "two": {"env": {"A": 2}}}, grouping=BY_TAG)


def test_it_is_said_of_each_field_how_the_nodes_of_a_step_share_it():
    assert list(SHARING) == list(Resources.model_fields)


def test_two_tags_may_say_the_same():
    assert resources(ONE, resources={"big": {"cpu": 2}, "group.g": {"cpu": 2}})[0].cpu == "2"


def cached(*nodes: Node, **run_config) -> list[str]:
    return [name for name, step in steps(*nodes, **run_config).items() if step.cached]


KEEPS = Node(same, "b", "kept", name="keeps", tags="big")


def test_no_step_is_cached_unless_the_settings_say_so():
    assert cached(ONE, TWO, KEEPS) == []
    assert cached(ONE, TWO, KEEPS, caching={"big": True}) == ["one"]
    assert cached(ONE, TWO, KEEPS, caching={"__default__": True, "one": False}) == ["two"]


def test_a_step_that_writes_the_catalog_is_cached_only_by_its_own_name():
    assert cached(ONE, TWO, KEEPS, caching=True) == ["one", "two"]
    assert cached(ONE, TWO, KEEPS, caching={"keeps": True}) == ["keeps"]


def test_a_step_that_reads_a_table_or_remote_files_is_cached_only_by_its_own_name():
    reads = Node(same, "table", "c", name="reads", tags="big")
    assert cached(reads, caching=True) == []
    assert cached(reads, caching={"big": True}) == []
    assert cached(reads, caching={"reads": True}) == ["reads"]


def test_a_group_is_cached_if_all_of_its_nodes_are():
    assert cached(ONE, TWO, caching={"one": True}, grouping=BY_TAG) == []
    assert cached(ONE, TWO, caching={"one": True, "two": True}, grouping=BY_TAG) == ["g"]
    assert cached(ONE, TWO, caching={"g": True}, grouping=BY_TAG) == ["g"]
