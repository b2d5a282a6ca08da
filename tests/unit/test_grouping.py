import pytest
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.catalog import Entry
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig


def same(*args):
    return args


def steps(*nodes: Node, cls: str, params: dict | None = None, **run_config) -> dict[str, tuple[str, ...]]:
    grouping = {"cls": cls, "params": params or {}}
    config = RunConfig(image="x", grouping=grouping, **run_config)
    plan = make_plan("p", Pipeline(nodes), config, {"raw": Entry("x")}.get)
    return {step.name: step.nodes for step in plan.steps}


CHAIN = (
    Node(same, "raw", "a", name="one"),
    Node(same, "a", "b", name="two"),
    Node(same, "b", ["c", "d"], name="fork"),
    Node(same, "c", "e", name="left"),
    Node(same, "d", "f", name="right"),
    Node(same, ["e", "f"], "g", name="join"),
    Node(same, "g", "h", name="last"),
)


def test_straight_chains_run_together():
    assert steps(*CHAIN, cls="ChainNodeGrouper") == {
        "one-to-fork": ("one", "two", "fork"), "left": ("left",), "right": ("right",), "join-to-last": ("join", "last"),
    }  # fmt: skip


def test_a_chain_breaks_where_resources_differ():
    assert steps(*CHAIN[:2], cls="ChainNodeGrouper", resources={"two": {"cpu": 8}}) == {
        "one": ("one",),
        "two": ("two",),
    }


def test_nodes_of_a_namespace_run_together():
    nodes = (
        Node(same, "raw", "ns.a", name="one", namespace="ns"),
        Node(same, "ns.a", "ns.b", name="two", namespace="ns.deep"),
        Node(same, "ns.b", "end", name="alone"),
    )
    assert steps(*nodes, cls="NamespaceNodeGrouper") == {"ns": ("ns.one", "ns.deep.two"), "alone": ("alone",)}


def test_nodes_with_the_same_group_tag_run_together_and_the_prefix_can_be_chosen():
    nodes = Node(same, "raw", "a", name="one", tags=["job.x", "other"]), Node(same, "a", "b", name="two", tags="job.x")
    assert steps(*nodes, cls="TagNodeGrouper", params={"tag_prefix": "job."}) == {"x": ("one", "two")}


def test_a_grouper_may_be_named_as_in_kedro_vertexai():
    nodes = Node(same, "raw", "a", name="one", tags="group.g"), Node(same, "a", "b", name="two", tags="group.g")
    assert steps(*nodes, cls="kedro_vertexai.grouping.TagNodeGrouper") == {"g": ("one", "two")}


class Halves:
    """A grouper that the user has written, and names by its path."""

    def __init__(self, count: int) -> None:
        self._count = count

    def group(self, pipeline, resources):
        return {"first": pipeline.nodes[: self._count]}


def test_a_node_that_the_users_own_grouper_leaves_out_is_a_step_of_its_own():
    nodes = CHAIN[:3]
    assert steps(*nodes, cls=f"{__name__}.Halves", params={"count": 2}) == {"first": ("one", "two"), "fork": ("fork",)}


class Overlap:
    def group(self, pipeline, resources):
        return {"a": pipeline.nodes, "b": pipeline.nodes[:1]}


@pytest.mark.parametrize(
    ("cls", "params", "sentence"),
    [
        ("TagNodeGroper", {}, "there is no such grouper. Did you mean 'TagNodeGrouper'?"),
        ("nowhere.Grouper", {}, "run_config.grouping.cls: nowhere.Grouper cannot be imported"),
        ("TagNodeGrouper", {"prefix": "x"}, "run_config.grouping.params: TagNodeGrouper does not accept them ("),
        (f"{__name__}.Overlap", {}, "node 'one' is in both 'a' and 'b'"),
    ],
)
def test_a_mistake_in_the_grouper_is_explained(cls, params, sentence):
    with pytest.raises(UserError) as error:
        steps(*CHAIN, cls=cls, params=params)
    assert sentence in str(error.value)


def test_the_message_shows_which_groups_wait_for_each_other():
    nodes = (
        Node(same, "raw", "a", name="one", tags="group.x"),
        Node(same, "a", "b", name="two", tags="group.y"),
        Node(same, "b", "c", name="three", tags="group.x"),
    )
    with pytest.raises(UserError, match=r"groups wait for each other: (x → y → x|y → x → y)\. Move"):
        steps(*nodes, cls="TagNodeGrouper")


def test_a_node_with_two_group_tags_is_named_with_its_tags():
    with pytest.raises(UserError, match=r"Node 'one' has 2 group tags: group\.x, group\.y"):
        steps(Node(same, "raw", "a", name="one", tags=["group.y", "group.x"]), cls="TagNodeGrouper")
