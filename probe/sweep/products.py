"""The product of a few kernels with many rows."""

import numpy as np

__all__ = ["project"]

# OpenBLAS packs both factors of a product anew, which with ten kernels takes longer than the product itself. Small
# products with a transposed right factor it computes from where the factors lie: of so many results, by so many
# multiplications. Ten kernels take a third of the time in tiles of that size while rows are in the cache.
# Source: OpenBLAS, kernel/x86_64/sgemm_small_kernel_permit_skylakex.c.
_RESULTS = 1200
_MULTIPLICATIONS = 10**6
# Smaller tiles of rows take more calls than they save.
_LEAST_TILE = 8


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
