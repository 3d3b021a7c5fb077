"""One training of a small network without batch-norm, for `test_processes.py`, in each process of `torchrun`.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/train/ddp.py JOB

JOB is JSON: folder, films, tune, batch_films, epochs, and after which epoch the second process dies, if any.
"""

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed

from hilum.cache import ArrayCache
from hilum.networks import build_classifier
from hilum.recipe import Recipe
from hilum.train import Folds, Stage, fit_network, is_leader


def train(told: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(
        {
            "title": "t",
            "classes": {"patch": ("patch",), "plain": ("plain",)},
            "preprocess": {"size_px": 48, "channels": 1, "mean": (0.5,), "std": (0.25,)},
            "network": {"backbone": "own:conv3", "weights": "random", "train_from": "all"},
            "augmentation": {"flip": 0.5, "brightness": 0.2},
            "schedule": {
                "epochs": told["epochs"],
                "batch_films": told["batch_films"],
                "precision": "float32",
                "optimiser": "sgd",
                "learning_rate": 0.05,
                "patience": None,
            },
        }
    )
    films, folder = told["films"], Path(told["folder"])
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 160, (films, 48, 48)).astype(np.uint8)
    targets = (np.arange(films) % 3 == 0).astype(np.int64)  # unequal classes: their weights matter
    frames[targets == 0, 8:24, 8:24] = 250
    cache = ArrayCache(folder / "frames", shape=(48, 48), dtype=np.uint8)
    cache.add((str(row), frame) for row, frame in enumerate(frames))
    torch.manual_seed(11)
    classifier = build_classifier(recipe.network, recipe.preprocess, classes=2)[0]
    rows, tune = np.arange(films), told["tune"]
    folds = Folds(rows[:-tune], rows[-tune:], targets, np.zeros(films - tune, np.int64))

    def progress(done: int, _total: int) -> None:
        if done == told.get("dies") and os.environ.get("RANK") == "1":
            os._exit(9)

    fitted = fit_network(
        classifier,
        cache.view([str(row) for row in rows]),
        folds,
        recipe,
        Stage(recipe.schedule, recipe.network, fresh=True),
        0,
        checkpoint=folder / "checkpoint",
        progress=progress,
    )
    (folder / f"history-{os.environ.get('RANK', '0')}.json").write_text(fitted.history.to_json(orient="values"))
    if is_leader():
        save_file({name: value.contiguous() for name, value in classifier.state_dict().items()}, folder / "weights")


def _tell_whether_left(folder: Path) -> None:
    (folder / f"left-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(not distributed.is_initialized()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    atexit.register(_tell_whether_left, Path(told["folder"]))  # registered first, so it comes last
    train(told)
