"""The example's nodes, called by their Kedro names with the datasets of the pipeline."""

import pandas as pd
import pytest
from kedro.framework.project import pipelines

SPLIT = {"test_size": 0.3, "random_state": 7}
LINEAR = {"max_iter": 1000}
FOREST = {"n_estimators": 10, "random_state": 7}


def run(node: str, **inputs):
    """Run one node of the pipeline on these inputs and return its outputs, by dataset name."""
    (found,) = pipelines["penguins"].filter(node_names=[node]).nodes
    return found.run({name.replace("params_", "params:"): value for name, value in inputs.items()})


@pytest.fixture(scope="module")
def penguins(project) -> pd.DataFrame:
    raw = pd.read_csv(project.project_path / "data/01_raw/penguins.csv")
    return run("clean", raw_penguins=raw)["penguins"]


@pytest.fixture(scope="module")
def split(penguins) -> dict[str, pd.DataFrame]:
    return run("split", penguins=penguins, params_split=SPLIT)


def test_only_measured_penguins_are_kept(penguins):
    assert len(penguins) == 342
    assert not penguins.isna().any(axis=None)


def test_the_split_keeps_every_penguin_once_and_the_share_of_each_species(penguins, split):
    train, test = split["train"], split["test"]
    assert sorted(train.index.append(test.index)) == list(penguins.index)
    share = penguins["species"].value_counts(normalize=True)
    assert train["species"].value_counts(normalize=True).sub(share).abs().max() < 0.01


def test_the_more_accurate_model_is_chosen(split):
    linear = run("train_linear", train=split["train"], **{"params_linear": LINEAR})["linear_model"]
    forest = run("train_forest", train=split["train"], **{"params_forest": FOREST})["forest_model"]
    chosen = run("choose_model", linear_model=linear, forest_model=forest, test=split["test"])
    accuracy = {name: metric["value"] for name, metric in chosen["metrics"].items()}
    assert accuracy["accuracy"] == max(accuracy["linear_accuracy"], accuracy["forest_accuracy"]) > 0.9
    assert list(chosen["predictions"]["actual"]) == list(split["test"]["species"])


def test_the_plot_has_a_cell_for_each_pair_of_species():
    predictions = pd.DataFrame({"actual": ["Adelie", "Gentoo"], "predicted": ["Adelie", "Adelie"]})
    figure = run("plot_confusion", predictions=predictions)["confusion_matrix"]
    assert figure.axes[0].images[0].get_array().tolist() == [[1, 0], [1, 0]]
