"""The Python API: the commands as functions that return values, for notebooks and other programs."""
