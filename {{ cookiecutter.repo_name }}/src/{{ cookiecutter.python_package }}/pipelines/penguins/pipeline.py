"""The penguins pipeline predicts a penguin's species from its measurements."""

from kedro.pipeline import Node, Pipeline

from . import nodes


def create_pipeline(**_kwargs: object) -> Pipeline:
    """Clean and split the data, train two models side by side, keep the better one, and plot its mistakes."""
    return Pipeline(
        [
            Node(nodes.clean_penguins, "raw_penguins", "penguins", name="clean"),
            Node(nodes.split_penguins, ["penguins", "params:split"], ["train", "test"], name="split"),
            Node(nodes.train_linear, ["train", "params:linear"], "linear_model", name="train_linear"),
            Node(nodes.train_forest, ["train", "params:forest"], "forest_model", name="train_forest"),
            Node(
                nodes.choose_model,
                ["linear_model", "forest_model", "test"],
                ["model", "predictions", "metrics"],
                name="choose_model",
            ),
            Node(nodes.plot_confusion, "predictions", "confusion_matrix", name="plot_confusion"),
        ]
    )
