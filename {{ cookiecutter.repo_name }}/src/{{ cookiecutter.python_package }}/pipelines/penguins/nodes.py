"""The functions of the penguins pipeline's nodes: data frames in; data frames, models and figures out."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TARGET = "species"
FEATURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def clean_penguins(raw_penguins: pd.DataFrame) -> pd.DataFrame:
    """Keep the target and the four measurements (mm, g) of every penguin that was measured."""
    return raw_penguins[[TARGET, *FEATURES]].dropna().reset_index(drop=True)


def split_penguins(penguins: pd.DataFrame, split: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into train and test rows, with the same share of each species in both."""
    train, test = train_test_split(penguins, stratify=penguins[TARGET], **split)
    return train, test


def train_linear(train: pd.DataFrame, linear: dict[str, Any]) -> ClassifierMixin:
    """Fit a logistic regression on scaled measurements."""
    model = make_pipeline(StandardScaler(), LogisticRegression(**linear))
    return model.fit(train[FEATURES], train[TARGET])


def train_forest(train: pd.DataFrame, forest: dict[str, Any]) -> ClassifierMixin:
    """Fit a random forest."""
    return RandomForestClassifier(**forest).fit(train[FEATURES], train[TARGET])


def choose_model(
    linear_model: ClassifierMixin, forest_model: ClassifierMixin, test: pd.DataFrame
) -> tuple[ClassifierMixin, pd.DataFrame, dict[str, dict[str, float]]]:
    """Score both models on the test rows and keep the more accurate one.

    Returns:
        The chosen model, its predictions beside the truth, and the metrics of both models
        in the form of ``MlflowMetricsHistoryDataset``.
    """
    models = {"linear": linear_model, "forest": forest_model}
    predicted = {name: model.predict(test[FEATURES]) for name, model in models.items()}
    accuracy = {name: accuracy_score(test[TARGET], y) for name, y in predicted.items()}
    chosen = max(models, key=lambda name: accuracy[name])

    scores = {f"{name}_accuracy": value for name, value in accuracy.items()}
    scores["accuracy"] = accuracy[chosen]
    scores["f1_macro"] = f1_score(test[TARGET], predicted[chosen], average="macro")
    metrics = {name: {"value": float(value), "step": 0} for name, value in scores.items()}
    predictions = pd.DataFrame({"actual": test[TARGET].array, "predicted": predicted[chosen]})
    return models[chosen], predictions, metrics


def plot_confusion(predictions: pd.DataFrame) -> Figure:
    """Draw the confusion matrix: which species the model takes for which."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        predictions["actual"], predictions["predicted"], ax=figure.subplots(), cmap="Blues"
    )
    return figure
