from dataclasses import replace

import numpy as np
import pytest

from extract import ModelMismatch, UnknownName, open_engine
from extract.activations import open_layers

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def keras_extractor(small_network):
    """A Keras network as keras.applications builds them: named layers, and the mean at the end."""

    def load():
        import keras

        # Loaded twice, it must be the same network.
        keras.utils.set_random_seed(0)
        images = keras.Input((16, 16, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", name="stem", activation="relu")(images)
        x = keras.layers.BatchNormalization(name="stem_bn")(x)
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="block_1_expand")(x)
        return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(x), name="small")

    preprocessing = replace(small_network.preprocessing, size=16)
    return replace(small_network, load=load, preprocessing=preprocessing, dim=6)


def averaged(extractor, function, size, dim):
    return replace(extractor, load=lambda: function, preprocessing=replace(extractor.preprocessing, size=size), dim=dim)


def test_layers_of_a_keras_network_have_the_names_of_its_summary(keras_extractor):
    assert open_layers(keras_extractor).names == ["stem", "stem_bn", "block_1_expand"]


def test_mean_over_the_last_layer_is_the_features(keras_extractor):
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    layers = open_layers(keras_extractor)
    found = layers.before_mean()(images)
    assert found.shape == (3, 8, 8, 6)
    (named,) = layers.activations(["block_1_expand"])(images)
    np.testing.assert_array_equal(named, found)
    features = open_engine(keras_extractor, "tensorflow")(images)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), features, rtol=1e-5)


@pytest.mark.parametrize("kind", ["kept dimensions", "a pool as large as the layer"])
def test_other_spellings_of_the_mean_are_found(small_network, kind):
    import tensorflow as tf

    def network(images):
        channels = tf.concat([images, -images], axis=-1)
        if kind == "kept dimensions":
            return tf.squeeze(tf.reduce_mean(channels, axis=[-3, -2], keepdims=True), axis=[1, 2])
        return tf.reshape(tf.nn.avg_pool2d(channels, 8, 8, "VALID"), (-1, 6))

    images = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    found = open_layers(averaged(small_network, network, 8, 6)).before_mean()(images)
    np.testing.assert_allclose(found[..., :3], -found[..., 3:])
    assert found.shape == (2, 8, 8, 6)


@pytest.mark.parametrize("kind", ["a part of the layer", "the greatest"])
def test_what_is_not_the_mean_over_space_is_refused(small_network, kind):
    import tensorflow as tf

    def network(images):
        if kind == "the greatest":
            return tf.reduce_max(images, axis=[1, 2])
        return tf.reshape(tf.nn.avg_pool2d(images, 4, 4, "VALID"), (-1, 12))

    layers = open_layers(averaged(small_network, network, 8, 3 if kind == "the greatest" else 12))
    with pytest.raises(ModelMismatch, match="does not end in global average pooling"):
        layers.before_mean()


def test_an_unknown_layer_names_the_nearest(keras_extractor):
    with pytest.raises(UnknownName, match="did you mean 'stem_bn'"):
        open_layers(keras_extractor).activations(["stem_bm"])
