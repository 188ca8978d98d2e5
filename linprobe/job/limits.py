"""Bounds that a flag and a key of the configuration have in common; importing them costs nothing."""

__all__ = ["MOST_VIEWS", "MOST_WORKERS"]

# As many as `extract` takes, which is not imported for a bound.
MOST_VIEWS = 100

# More processes than any machine has GPUs or sense.
MOST_WORKERS = 256
