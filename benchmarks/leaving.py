"""Whether a path that is left early selects what the whole one does, and what it costs: the sets of benchmarks.rules.

    python -m benchmarks.leaving [--sets NAME]… [--seeds 3] [--stamps FOLDER] [--work DIR]

Each split is swept to the end; what a shorter patience would have selected is read off the same scores, for every rule.
Seconds are those of the fits, as they were made.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.rules import open_sets, searched, training_data
from probe.selection import RULES, Criterion, Score, choose, extend_grid, tabulate
from probe.sweep.search import grid_for

__all__ = ["main"]

_PATIENCES = (4, 6, 8, 10, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare paths that are left early with whole ones.")
    parser.add_argument("--sets", action="append", default=[], help="the name of a set; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stamps", type=Path, help="a folder of class folders")
    parser.add_argument("--work", type=Path, help="where features are kept")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for made in open_sets(arguments.stamps, arguments.work or Path(scratch), arguments.sets):
            for seed in range(arguments.seeds):
                data, _, _ = training_data(made, seed)
                began: list[float] = []
                folds, found = searched(data, patience=0, on_point=partial(_note_time, began))
                grid = grid_for(data.features, "zscore")
                began.append(time.process_time())
                scores = dict(zip(found.points, found.scores, strict=True))
                seconds = dict(zip(sorted(found.points), np.diff(began), strict=False))
                for patience in (0, *_PATIENCES):
                    seen: list[float] = []

                    told = partial(_told, scores, seen)
                    points, of_points, _, _ = extend_grid(grid, told, criterion=folds.criterion, patience=patience)
                    chosen: dict[str, float] = {}
                    for rule in RULES:
                        criterion = Criterion(folds.criterion.metric, folds.criterion.repeat_of, rule)
                        chosen[rule] = points[
                            choose(tabulate([{"C": C} for C in points], of_points, criterion), criterion).selected
                        ]
                    cost = sum(seconds.get(C, 0.0) for C in seen)
                    rows.append({"set": made.name, "seed": seed, "patience": patience, "seconds": cost, **chosen})
    table = pd.DataFrame(rows)
    whole = table[table["patience"] == 0].set_index(["set", "seed"])
    for patience in _PATIENCES:
        at = table[table["patience"] == patience].set_index(["set", "seed"])
        same = {rule: f"{(at[rule] == whole[rule]).mean():.0%}" for rule in RULES}
        print(
            f"patience {patience}: {at['seconds'].sum() / whole['seconds'].sum():.2f} of the time; same choice {same}"
        )


def _note_time(seconds: list[float], _: str) -> None:
    seconds.append(time.process_time())


def _told(scores: Mapping[float, Sequence[Score]], seen: list[float], C: float) -> list[Score]:
    """Score a point from a path that is known, and note that it was asked for."""
    seen.append(C)
    return list(scores[C])


if __name__ == "__main__":
    main()
