"""Which test examples a page shows."""

import pandas as pd

from store import ProbeResult

__all__ = ["confident_mistakes", "grid_examples"]


def grid_examples(run: ProbeResult, count: int = 30) -> list[str]:
    """Choose the test examples of a run's grid: those with the smallest content hashes.

    A hash knows nothing of labels, predictions or order, so this is an unbiased sample; and it is
    the same one for all runs on one test split, so that grids can be laid side by side.

    Args:
        run: the run.
        count: how many examples at most.

    Returns:
        Example ids by ascending content hash, ties by example id.
    """
    ordered = run.predictions.sort_values(["content_sha256", "example_id"])
    return [str(name) for name in ordered["example_id"].head(count)]


def confident_mistakes(run: ProbeResult, count: int = 30) -> list[str]:
    """Choose the wrong predictions that the head was surest of.

    Args:
        run: the run.
        count: how many examples at most.

    Returns:
        Example ids by descending confidence, ties by content hash, then by example id.
    """
    predictions: pd.DataFrame = run.predictions
    wrong = predictions[~predictions["is_correct"].astype(bool)]
    ordered = wrong.sort_values(["confidence", "content_sha256", "example_id"], ascending=[False, True, True])
    return [str(name) for name in ordered["example_id"].head(count)]
