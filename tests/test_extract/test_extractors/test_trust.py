"""What a model file may do: nothing that its makers have not been trusted with."""

import json
import zipfile
from collections import Counter

import h5py
import pytest

from extract import Declared, ModelCaches, ModelMismatch, UntrustedModel, open_engine, open_extractor
from extract.extractors.operations import ALLOWED, operations_of
from extract.extractors.weights_files import require_data

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return what saves a SavedModel whose call does `inside` to (N, 8, 8, 3) images before it averages them."""
    import tensorflow as tf

    def save(inside, name="model"):
        class Model(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])
            def __call__(self, images):
                inside(images)
                return tf.reduce_mean(images, [1, 2])

        path = tmp_path_factory.mktemp("saved") / name
        model = Model()
        model.weight = tf.Variable(1.0)
        tf.saved_model.save(model, str(path))
        return path

    return save


def opened(path, trust=False):
    caches = ModelCaches(path, path)
    return open_engine(open_extractor(f"savedmodel:{path}", caches, Declared(size=8, trust=trust)), "tensorflow")


def reads(images):
    import tensorflow as tf

    tf.io.read_file("/etc/hostname")


def writes(target):
    import tensorflow as tf

    return lambda images: tf.io.write_file(str(target), "x")


def calls_python(images):
    import tensorflow as tf

    tf.py_function(lambda: 1.0, [], tf.float32)


def lists_files_in_a_branch(images):
    import tensorflow as tf

    tf.cond(tf.reduce_sum(images) > 0, lambda: tf.size(tf.io.matching_files("/*")), lambda: 0)


def saves_a_checkpoint(images):
    import tensorflow as tf

    tf.raw_ops.SaveV2(prefix="/tmp/x", tensor_names=["a"], shape_and_slices=[""], tensors=[images])


@pytest.mark.parametrize(
    ("inside", "operation"),
    [
        (reads, "ReadFile"),
        (calls_python, "EagerPyFunc"),
        (lists_files_in_a_branch, "MatchingFiles"),
        (saves_a_checkpoint, "SaveV2"),
    ],
)
def test_an_operation_outside_the_list_is_refused_by_name(saved, inside, operation):
    with pytest.raises(UntrustedModel, match=rf"{operation} \(1\).*--trust runs it"):
        opened(saved(inside))


def test_what_is_refused_has_not_run_and_what_is_trusted_does(saved, tmp_path):
    import numpy as np

    path = saved(writes(tmp_path / "written"))
    with pytest.raises(UntrustedModel, match=r"WriteFile \(1\)"):
        opened(path)
    assert not (tmp_path / "written").exists()
    opened(path, trust=True)(np.zeros((1, 8, 8, 3), np.float32))
    assert (tmp_path / "written").read_text() == "x"


def test_a_models_own_saver_is_not_counted(saved):
    run, foreign = operations_of(saved(lambda images: None))
    assert foreign == Counter()
    assert "SaveV2" not in run
    assert "Mean" in run


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MobileNetV2", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=pytest.mark.campaign)
            for name in ("EfficientNetB0", "NASNetMobile", "DenseNet121", "InceptionV3")
        ),
    ],
)
def test_networks_as_keras_exports_them_need_no_trust(name, tmp_path):
    import keras

    network = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg")
    network.export(tmp_path / "model", verbose=False)
    assert operations_of(tmp_path / "model")[1] == Counter()


def test_the_list_names_operations_that_there_are_and_none_that_reaches_out():
    from tensorflow.python.framework import op_def_registry

    assert [name for name in ALLOWED if op_def_registry.get(name) is None] == []
    outside = ("File", "Dataset", "Iterator", "PyFunc", "Save", "Restore", "Reader", "Rpc", "Send", "Recv", "Print")
    assert [name for name in ALLOWED if any(part in name for part in outside)] == []


# Weights files of Keras


def whole_model(path, layer):
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": layer, "config": {"name": "mine"}}]}}
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
    else:
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_lambda_layer_is_refused_by_name(tmp_path, suffix):
    with pytest.raises(UntrustedModel, match="Lambda 'mine', a layer of Python code"):
        require_data(whole_model(tmp_path / f"a{suffix}", "Lambda"))
    require_data(whole_model(tmp_path / f"b{suffix}", "Dense"))


def test_weights_that_lie_in_another_file_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("layer/kernel", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["layer"] = h5py.ExternalLink("a.h5", "/layer")
    with pytest.raises(ModelMismatch, match="the numbers of /layer/kernel are in another file"):
        require_data(tmp_path / "a.h5")
    with pytest.raises(ModelMismatch, match=r"layer is in another file, 'a\.h5'"):
        require_data(tmp_path / "b.h5")
