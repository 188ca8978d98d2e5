"""PyTorch as people write it, in a process of its own: torchvision's network, channels last, behind a DataLoader.

    python benchmarks/torch_loader.py FOLDER mobilenet_v2|inception_v3 SIZE

For each line that comes in, it sends the images through the network once and says how many seconds that took.
It imports nothing of the project, so that any Python which has torch and torchvision can run it.
"""

import os
import sys
import time

import torch
import torchvision
from torchvision.transforms import v2


def main() -> None:
    folder, network, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    model = getattr(torchvision.models, network)(weights=None)
    # Features, not classes.
    setattr(model, "classifier" if network == "mobilenet_v2" else "fc", torch.nn.Identity())
    model = model.eval().to(memory_format=torch.channels_last)
    steps = v2.Compose([v2.Resize((size, size)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    dataset = torchvision.datasets.ImageFolder(folder, steps)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        with torch.inference_mode():
            for images, _labels in torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=cores):
                model(images.to(memory_format=torch.channels_last))
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
