import subprocess
import sys

import numpy as np
import pytest


def taken(dataset):
    batches = list(dataset.as_numpy_iterator())
    return [len(labels) for _, labels in batches], *map(np.concatenate, zip(*batches, strict=True))


@pytest.mark.framework
def test_batches_have_the_rows_in_the_order_of_the_set(flowers):
    dataset = flowers.to_tf_dataset(3)
    assert [(spec.shape.as_list(), spec.dtype.name) for spec in dataset.element_spec] == [
        ([None, 3], "float32"),
        ([None], "int64"),
    ]
    sizes, features, labels = taken(dataset)
    assert sizes == [3, 1]
    assert features.tolist() == [[2, 2.5, -2], [0, 0.5, 0], [1, 1.5, -1], [3, 3.5, -3]]
    assert labels.tolist() == [0, 1, 0, 0]


@pytest.mark.framework
def test_shuffled_rows_keep_their_labels_and_come_in_a_new_order_each_time(corpus):
    letters = "abcdefghijklmnopqrst"
    corpus.add(letters)
    features = corpus.publish(letters)
    dataset = features.to_tf_dataset(8, shuffle=True, seed=1)
    passes = []
    for _ in range(2):
        sizes, rows, labels = taken(dataset)
        assert sizes == [8, 8, 4]
        assert sorted(rows[:, 0].tolist()) == list(range(20))
        assert labels.tolist() == [int(number) % 2 for number in rows[:, 0]]
        passes.append(rows[:, 0].tolist())
    assert passes[0] != passes[1] != list(range(20))
    again = taken(features.to_tf_dataset(8, shuffle=True, seed=1))[1]
    assert again[:, 0].tolist() == passes[0]


@pytest.mark.heavy
def test_tensorflow_is_imported_when_a_dataset_is_asked_for_and_not_before(flowers):
    code = (
        "import sys; from store import FeatureStore\n"
        f"features = FeatureStore({str(flowers.folder.parent.parent)!r}).get('flowers', 'train', 'toy')\n"
        "features.to_frame(); print('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
