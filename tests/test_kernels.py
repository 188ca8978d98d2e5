"""Other processors' kernels: no expectation may hang on the one that this machine has.

The short form of what to do before a release: the whole suite under each of these environments.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
# Where numbers meet a bound: engines against each other, rounding by hand, the sweep against scikit-learn.
NUMERIC = [
    "tests/test_extract/test_engines/test_contract.py",
    "tests/test_probe/test_objective.py",
    "tests/test_probe/test_few_rows.py",
    "tests/test_probe/test_dense.py",
]

# A processor with AVX2 alone rounds to bfloat16 by TensorFlow's own kernels. One with more that is held to AVX2 does not:
# TensorFlow looks at the processor and oneDNN at the variable, and then has no such convolution, which the engine says.
BFLOAT16 = "tests/test_extract/test_engines/test_mixed_precision.py"


@pytest.mark.parametrize(
    ("kernels", "files"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}, [*NUMERIC, BFLOAT16]),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, [*NUMERIC, BFLOAT16]),
    ],
    ids=["AVX2", "no oneDNN"],
)
def test_what_numbers_are_compared_with_holds_by_other_kernels(kernels, files):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **kernels}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
