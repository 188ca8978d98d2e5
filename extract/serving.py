"""A network and a head as one model that runs without this package: a SavedModel, or TensorFlow Lite."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extract.engines.frozen import freeze
from extract.errors import ModelMismatch
from extract.extractors.extractor import Extractor
from extract.pixels import resize
from extract.preprocessing import Preprocessing

__all__ = ["convert_to_tflite", "save_encoded_model"]


def save_encoded_model(
    extractor: Extractor, probabilities: Callable[[Any], Any], class_names: Sequence[str], *, folder: Path
) -> None:
    """Write a SavedModel from encoded images to probabilities; decoding and preprocessing are inside.

    Its signature `serving_default` takes `image_bytes`, (N,) strings: JPEG, PNG, GIF or BMP files. It gives
    `probabilities` (N, K) float32, `class` (N,) strings and `class_names` (K,) strings; the names also lie in
    `assets/labels.txt`, one a line.

    Args:
        extractor: the network.
        probabilities: TensorFlow (N, D) features → (N, K) float32.
        class_names: K names.
        folder: which must not exist.

    Raises:
        ModelMismatch: the extractor is no TensorFlow network.
    """
    import tensorflow as tf

    network = _frozen_function(extractor)
    preprocessing = extractor.preprocessing
    image = tf.TensorSpec((preprocessing.size, preprocessing.size, 3), preprocessing.pixels)
    module = tf.Module()
    # TensorFlow Serving takes base64 in JSON for inputs whose names end so.
    spec = tf.TensorSpec((None,), tf.string, name="image_bytes")

    # Without autograph, which reads source files and so fails where they are not at hand.
    def serve(image_bytes: Any) -> dict[str, Any]:
        images = tf.map_fn(lambda data: _to_image(data, preprocessing), image_bytes, fn_output_signature=image)
        found = probabilities(network(images))
        names = tf.constant(list(class_names))
        return {"probabilities": found, "class": tf.gather(names, tf.argmax(found, axis=-1)), "class_names": names}

    module.serve = tf.function(serve, input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as temporary:
        labels = Path(temporary) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def convert_to_tflite(extractor: Extractor, probabilities: Callable[[Any], Any], pixels: str) -> bytes:
    """Return a TensorFlow Lite model from one resized image to probabilities.

    Args:
        extractor: the network.
        probabilities: TensorFlow (N, D) features → (N, K) float32, in float32.
        pixels: `float32` or `uint8`, of its input: (1, size, size, 3), RGB, 0 to 255.

    Raises:
        ModelMismatch: the extractor is no TensorFlow network.
    """
    import tensorflow as tf

    network = _frozen_function(extractor)
    size, own_type = extractor.preprocessing.size, extractor.preprocessing.pixels

    def classify(images: Any) -> Any:
        if own_type == "uint8" and pixels != "uint8":
            images = tf.round(images)
        return probabilities(network(tf.cast(images, own_type)))

    spec = tf.TensorSpec((1, size, size, 3), pixels, name="images")
    module = tf.Module()
    module.classify = tf.function(classify, input_signature=[spec], autograph=False)
    concrete = module.classify.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


def _frozen_function(extractor: Extractor) -> Callable[[Any], Any]:
    if extractor.load is None:
        raise ModelMismatch(f"{extractor.name}: is no TensorFlow network, and only those can be exported.")
    function = freeze(extractor).function

    def network(images: Any) -> Any:
        found = function(images)
        return found[0] if isinstance(found, list | tuple) else found

    return network


def _to_image(data: Any, preprocessing: Preprocessing) -> Any:
    import tensorflow as tf

    pixels = tf.cond(
        tf.io.is_jpeg(data),
        # As in the pipeline: the exact transform.
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return resize(pixels, preprocessing)
