"""Bounds that a flag and a key of the configuration have in common; importing them costs nothing."""

__all__ = ["MOST_WORKERS"]

# More processes than any machine has GPUs or sense.
MOST_WORKERS = 256
