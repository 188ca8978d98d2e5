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


@pytest.mark.heavy
def test_keras_is_imported_by_those_alone_who_need_it_and_then_whole(tmp_path):
    code = (
        "import os, sys; from linprobe.job.environment import Environment; "
        "Environment(os.environ).prepare_frameworks(); import tensorflow as tf; found = 'keras' in sys.modules; "
        "import keras; model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]); "
        "model.compile('adam', 'mse'); model.fit(tf.ones((4, 3)), tf.ones((4, 2)), verbose=0); "
        "print(found, tf.keras.layers.Dense is keras.layers.Dense, tf.losses.MeanSquaredError is not None, "
        "len(tf.initializers.zeros()((2,))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stderr == ""
    assert found.stdout.split() == ["False", "True", "True", "2"]
