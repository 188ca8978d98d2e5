import subprocess
import sys

import pytest


@pytest.mark.heavy
def test_importing_tensorflow_for_a_job_says_nothing(tmp_path):
    code = (
        "import os; from linprobe.job.environment import Environment; Environment(os.environ).prepare_frameworks(); "
        "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stderr == ""
    assert found.stdout.strip() == "[]"
