"""What files are called; importing this costs nothing."""

__all__ = ["ARRAY_SUFFIXES", "TABLE_SUFFIXES"]

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
ARRAY_SUFFIXES = (".npz",)
