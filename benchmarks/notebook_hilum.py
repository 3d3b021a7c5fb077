"""hilum's way, for `notebook_training.py`, which starts this file in a process of its own.

    python benchmarks/notebook_hilum.py train_with_hilum FOLDER

FOLDER holds `job.json` (recipe, threads, division) and what it names. Prints what was found as one line of JSON.
torch is imported where it is used: the processes that decode films import this file again.
"""

import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hilum.cache import FrameCache
from hilum.index import Index
from hilum.process import settle
from hilum.recipe import Recipe
from hilum.split import Split, make_splits


def spent() -> tuple[float, float]:
    """Seconds of wall clock, and of processor time of this process and those it waited for, so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def train_with_hilum(job: Path) -> dict[str, Any]:
    """From files to a trained head with nothing cached; seconds, and what the tune fold says in the last epoch."""
    import torch

    from hilum.fitting import Fitter

    told = json.loads((job / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(told["threads"])
    recipe = Recipe.model_validate(told["recipe"])
    index, split = Index.load(job / "index.parquet"), Split.load(job / told["split"])
    marks = [spent()]
    cache = FrameCache(recipe.preprocess)
    cache.fill(index.films, index.root, processes=told["threads"])
    marks.append(spent())
    fitter = Fitter(recipe, index.films, cache.view(index.films, index.root))
    marks.append(spent())
    passes = fitter.prepare([split])
    marks.append(spent())
    last = fitter.fit(split, checkpoint=job / "checkpoint.pt").fitted.history.iloc[-1]
    marks.append(spent())
    wall = [after[0] - before[0] for before, after in pairwise(marks)]
    return {
        "wall": sum(wall),
        "cpu": marks[-1][1] - marks[0][1],
        "stages": dict(zip(("read", "build", "features", "head"), wall, strict=True)),
        "passes": passes,
        "accuracy": last["tune_accuracy"],
        "loss": last["tune_loss"],
    }


def hand_over(job: Path) -> dict[str, Any]:
    """Write hilum's random convolutions in Keras's layout, and a picture with its vector to compare."""
    import torch

    from hilum.fitting import Fitter
    from hilum.train.processes import native_bfloat16

    told = json.loads((job / "job.json").read_text(encoding="utf-8"))
    recipe = Recipe.model_validate(told["recipe"])
    index = Index.load(job / "index.parquet")
    cache = FrameCache(recipe.preprocess)
    first = index.films.iloc[:1]
    cache.fill(first, index.root)
    fitter = Fitter(recipe, first, cache.view(first, index.root))
    tensors = [value.numpy() for value in fitter.classifier.backbone.state_dict().values()]
    layout = [value.transpose(2, 3, 1, 0) if value.ndim == 4 else value for value in tensors]
    np.savez(job / "weights.npz", **{str(number): value for number, value in enumerate(layout)})
    films = recipe.preprocess.normalise(cache.view(first, index.root)[:])
    with torch.inference_mode():
        vector = fitter.classifier.eval().vectors(torch.from_numpy(films))[0].numpy()
    np.savez(job / "probe.npz", picture=films.transpose(0, 2, 3, 1), vector=vector)
    return {"bfloat16": native_bfloat16(torch.device("cpu"))}


def score_views(job: Path) -> dict[str, Any]:
    """Tune accuracy and loss in the last epoch, a division each; features are kept between calls."""
    import torch

    from hilum.fitting import Fitter

    told = json.loads((job / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(told["threads"])
    recipe = Recipe.model_validate(told["recipe"])
    index = Index.load(job / "index.parquet")
    cache = FrameCache(recipe.preprocess)
    cache.fill(index.films, index.root, processes=told["threads"])
    fitter = Fitter(recipe, index.films, cache.view(index.films, index.root))
    splits = make_splits(index.films, recipe.split)
    fitter.prepare(splits)
    last = [fitter.fit(split, checkpoint=job / "checkpoint.pt").fitted.history.iloc[-1] for split in splits]
    return {"accuracy": [row["tune_accuracy"] for row in last], "loss": [row["tune_loss"] for row in last]}


WORK = {work.__name__: work for work in (train_with_hilum, hand_over, score_views)}


def main() -> None:
    settle()
    print(json.dumps(WORK[sys.argv[1]](Path(sys.argv[2]))))


if __name__ == "__main__":
    main()
