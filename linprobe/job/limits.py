"""Bounds that a flag and a key of the configuration have in common; importing them costs nothing."""

__all__ = ["MOST_FOLDS", "MOST_SEEDS", "MOST_WORKERS"]

# Each is a selection of its own; of more, each would test next to nothing.
MOST_FOLDS = 100

# More processes than any machine has GPUs or sense.
MOST_WORKERS = 256
# Each seed is a run of its own: more would fill a store by a slip of the finger.
MOST_SEEDS = 10_000
