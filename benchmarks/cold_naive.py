"""The notebook's side of `cold_start.py`: a process that imports torch and timm, loads weights and predicts one film.

    python benchmarks/cold_naive.py WEIGHTS FILM

WEIGHTS is a file of `torch.save`, a state dict of timm's EfficientNet-Lite0 with two classes. Prints a probability.
"""

import sys

import numpy as np
import timm
import torch
from PIL import Image

SIDE = 224


def main() -> None:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=2)
    network.load_state_dict(torch.load(sys.argv[1], weights_only=True))
    network.eval()
    values = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize((SIDE, SIDE)), np.float32) / 255
    film = torch.from_numpy((values - 0.5) / 0.5).permute(2, 0, 1)[None]
    with torch.inference_mode():
        print(float(network(film).softmax(1)[0, 0]))


if __name__ == "__main__":
    main()
