"""The metrics of a run, each declared once as plain data: what computes, selects by and shows them reads this table.

A new metric is an entry here, and its number in `probe.metrics.compute_metrics`; the leaderboard, its files, the pages,
`store ls --runs` and the help follow.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "SELECTION_METRICS", "Metric", "columns_of"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a run.

    Attributes:
        name: its key in `ProbeResult.metrics`, and its column in tables.
        title: what a page calls it.
        heading: what the column of a table is called.
        meaning: one sentence, for the page of a run.
        format: as a share in percent, or as a number of four digits.
        has_interval: whether `NAME_low` and `NAME_high` stand beside it, a 95% interval.
        selects: whether selection may go by it, and a leaderboard be sorted by it.
        is_listed: whether the table of a leaderboard's page has a column of it; its files have all.
        is_ranked: whether the leaderboard has a column of it.
    """

    name: str
    title: str
    heading: str
    meaning: str
    format: Literal["percent", "number"] = "number"
    has_interval: bool = False
    selects: bool = False
    is_listed: bool = False
    is_ranked: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Its name, and the ends of its interval."""
        return (self.name, f"{self.name}_low", f"{self.name}_high") if self.has_interval else (self.name,)


_DECLARED = (
    Metric(
        name="accuracy",
        title="Accuracy",
        heading="accuracy",
        meaning="Share of test examples whose most likely class is the true one.",
        format="percent",
        has_interval=True,
        selects=True,
    ),
    Metric(
        name="balanced_accuracy",
        title="Balanced accuracy",
        heading="balanced",
        meaning="Mean of the classes' recalls: every class counts the same.",
        format="percent",
        has_interval=True,
        selects=True,
        is_listed=True,
    ),
    Metric(
        name="macro_f1",
        title="Macro F1",
        heading="macro F1",
        meaning="Mean over classes of F1, the harmonic mean of precision and recall.",
        is_listed=True,
    ),
    Metric(
        name="top5",
        title="Top-5 accuracy",
        heading="top-5",
        meaning="Share of test examples whose true class is among the five most likely.",
        format="percent",
        is_listed=True,
    ),
    Metric(
        name="nll",
        title="NLL",
        heading="NLL",
        meaning="Mean negative log-probability of the true class, in nats; lower is better.",
        is_listed=True,
    ),
    Metric(
        name="ece",
        title="ECE",
        heading="ECE",
        meaning="Expected calibration error: how far confidence and accuracy lie apart; lower is better.",
        is_listed=True,
    ),
    Metric(
        name="brier",
        title="Brier score",
        heading="Brier",
        meaning="Mean squared distance between probabilities and truth, halved for two classes; lower is better.",
    ),
    Metric(
        name="auroc",
        title="AUROC",
        heading="AUROC",
        meaning="Chance that a row of a class has a higher probability of it than a row of another; mean over classes.",
        has_interval=True,
    ),
    Metric(
        name="average_precision",
        title="Average precision",
        heading="average precision",
        meaning="Area under the curve of precision by recall; mean over classes.",
    ),
    Metric(
        name="cohen_kappa",
        title="Cohen's kappa",
        heading="kappa",
        meaning="Agreement of predictions and labels beyond chance: 1 for all, 0 for chance.",
    ),
    Metric(
        name="nll_calibrated",
        title="NLL at temperature",
        heading="NLL at temperature",
        meaning="NLL with the logits divided by the temperature.",
    ),
    Metric(
        name="ece_calibrated",
        title="ECE at temperature",
        heading="ECE at temperature",
        meaning="ECE with the logits divided by the temperature.",
    ),
    Metric(
        name="temperature",
        title="Temperature",
        heading="temperature",
        meaning="Fitted on rows that the head was not trained on; above 1: it was too sure.",
        is_ranked=False,
    ),
    Metric(
        name="accuracy_without_duplicates",
        title="Accuracy without duplicates",
        heading="accuracy without duplicates",
        meaning="Accuracy on the test images that are not duplicated in train or validation, byte for byte.",
        format="percent",
    ),
    Metric(
        name="accuracy_without_near_duplicates",
        title="Accuracy without near duplicates",
        heading="accuracy without near duplicates",
        meaning="Accuracy on the test images of which no copy, resized or encoded anew, is in train or validation.",
        format="percent",
    ),
)

METRICS = {metric.name: metric for metric in _DECLARED}
SELECTION_METRICS = tuple(metric.name for metric in _DECLARED if metric.selects)


def columns_of(*names: str) -> tuple[str, ...]:
    """Return the columns of these metrics, ends of intervals included; of all that are ranked without names."""
    chosen = [metric for metric in _DECLARED if (metric.name in names if names else metric.is_ranked)]
    return tuple(column for metric in chosen for column in metric.columns)
