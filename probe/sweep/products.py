"""The products of a few kernels with many rows, and of a few numbers a row with the rows."""

import numpy as np

__all__ = ["backproject", "project"]

# OpenBLAS packs both factors of a product anew, which with ten kernels takes longer than the product itself. Small
# products it computes from where the factors lie: of so many multiplications, and where the right factor is transposed
# of so many results. While rows are in the cache, ten kernels take a third of the time in tiles of that size, and
# what they collect from rows takes half.
# Source: OpenBLAS, kernel/x86_64/sgemm_small_kernel_permit_skylakex.c.
_RESULTS = 1200
_MULTIPLICATIONS = 10**6
# Smaller tiles of rows take more calls than they save; so do narrower ones, and wider ones are no faster.
_LEAST_TILE = 8
_NARROWEST, _WIDEST = 32, 256


def project(kernels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return kernels (C, D) times rows (N, D), as (C, N)."""
    count, dim = kernels.shape
    size = min(_RESULTS // max(count, 1), _MULTIPLICATIONS // max(count * dim, 1))
    whole = len(rows) - len(rows) % size if size >= _LEAST_TILE else 0
    found = np.empty((count, len(rows)), np.result_type(kernels, rows))
    if whole:
        tiles = rows[:whole].reshape(-1, size, dim)
        np.matmul(kernels, tiles.transpose(0, 2, 1), out=found[:, :whole].reshape(count, -1, size).transpose(1, 0, 2))
    if whole < len(rows):
        np.matmul(kernels, rows[whole:].T, out=found[:, whole:])
    return found


def backproject(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return values (C, N) times rows (N, D), as (C, D)."""
    (count, length), dim = values.shape, rows.shape[1]
    width = min(_WIDEST, dim, _MULTIPLICATIONS // max(count * length, 1) // _NARROWEST * _NARROWEST)
    whole = dim - dim % width if width >= _NARROWEST else 0
    found = np.empty((count, dim), np.result_type(values, rows))
    if whole:
        tiles = rows[:, :whole].reshape(length, whole // width, width)
        np.matmul(values, tiles.transpose(1, 0, 2), out=found[:, :whole].reshape(count, -1, width).transpose(1, 0, 2))
    if whole < dim:
        np.matmul(values, rows[:, whole:], out=found[:, whole:])
    return found
