"""How the authors of a network prepared images when they measured the accuracy that they published.

A preset has crop, resize method and antialias; size and range are the network's own in any case.
Where no recipe was published there is none here, and asking for it says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PUBLISHED", "SLIM", "Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """One published recipe.

    Attributes:
        crop: see `extract.preprocessing.Crop`.
        resize: one of `extract.preprocessing.RESIZE_METHODS`.
        antialias: whether shrinking averages over all pixels.
        source: where it is published.
    """

    crop: str
    resize: str
    antialias: bool
    source: str


# The middle 87.5% of each side, the aspect not kept, TensorFlow 1's bilinear sampling. TF-Hub's feature
# vectors and Keras's weights of these networks are TF-Slim's checkpoints, or were trained by its code.
SLIM = Evaluation(
    "fraction:0.875",
    "bilinear_v1",
    False,
    "tensorflow/models, research/slim/preprocessing/inception_preprocessing.py, preprocess_for_eval",
)

# Network → its recipe; the names are those of keras.applications where it has them.
PUBLISHED: Mapping[str, Evaluation] = {
    "MobileNetV2": SLIM,
    "InceptionV3": SLIM,
    "NASNetMobile": SLIM,
    # Caffe, so without antialias.
    "ResNet50": Evaluation(
        "shorter:256",
        "bilinear",
        False,
        "github.com/KaimingHe/deep-residual-networks: center 224x224 crop from resized image with shorter side=256",
    ),
    # image.scale of Torch averages when it shrinks.
    "DenseNet121": Evaluation(
        "shorter:256",
        "bilinear",
        True,
        "github.com/liuzhuang13/DenseNet, after facebook/fb.resnet.torch: Scale(256), CenterCrop(224)",
    ),
    "EfficientNetB0": Evaluation(
        "square:0.875",
        "bicubic_v1",
        False,
        "tensorflow/tpu, models/official/efficientnet/preprocessing.py, preprocess_for_eval",
    ),
    "EfficientNetLite0": Evaluation(
        "square:0.875",
        "bilinear_v1",
        False,
        "tensorflow/tpu, models/official/efficientnet/main.py: bilinear for efficientnet-lite",
    ),
}
