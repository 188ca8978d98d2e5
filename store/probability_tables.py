"""Probabilities of every class, as a run keeps them: all of them, or the likeliest where there would be too many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_NUMBERS", "TOP", "probability_table", "read_probabilities"]

# 80 MB of float32; of more, the likeliest of each row.
MOST_NUMBERS, TOP = 20_000_000, 20
_NAMES = ("part", "example_id", "content_sha256", "label")


def probability_table(rows: "pd.DataFrame", probabilities: np.ndarray) -> "pd.DataFrame":
    """Return rows with their probabilities, as they are kept.

    Args:
        rows: N, columns `part` (`test`, or `held_out`: predicted by a fit without it), `example_id`,
            `content_sha256`, `label`.
        probabilities: (N, K) floating.

    Returns:
        `p0 …` of every class, float32; or, of more than `MOST_NUMBERS`, `class0 …` and `p0 …` of the `TOP` likeliest.
    """
    import pandas as pd

    shares = np.asarray(probabilities, np.float32)
    columns: dict[str, np.ndarray] = {}
    if shares.size > MOST_NUMBERS and shares.shape[1] > TOP:
        likeliest = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
        shares = np.take_along_axis(shares, likeliest, axis=1)
        columns = {f"class{at}": likeliest[:, at].astype(np.int32) for at in range(TOP)}
    columns |= {f"p{at}": shares[:, at] for at in range(shares.shape[1])}
    return pd.concat([rows[list(_NAMES)].reset_index(drop=True), pd.DataFrame(columns)], axis=1)


def read_probabilities(table: "pd.DataFrame", class_names: Sequence[str]) -> "pd.DataFrame":
    """Return a kept table as (N, K) float32 by example id; what was not kept is NaN.

    Args:
        table: see `probability_table`.
        class_names: K.
    """
    import pandas as pd

    count = sum(name[:1] == "p" and name[1:].isdigit() for name in table.columns)
    found = table[[f"p{at}" for at in range(count)]].to_numpy(np.float32)
    if "class0" in table.columns:
        kept = table[[f"class{at}" for at in range(count)]].to_numpy(np.int64)
        whole = np.full((len(table), len(class_names)), np.nan, np.float32)
        np.put_along_axis(whole, kept, found, axis=1)
        found = whole
    index = pd.Index(table["example_id"], name="example_id")
    return pd.DataFrame(found, index=index, columns=list(class_names))
