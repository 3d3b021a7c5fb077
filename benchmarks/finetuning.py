"""Training a network itself: what of an epoch goes to frames and their changes, and what channels_last is worth.

    python benchmarks/finetuning.py [--films 64] [--epochs 2] [--threads N] [--json FILE] [--quick]

Two trainings on drawn frames, whose pixels do not matter for the time: EfficientNet-Lite0 with its packaged weights,
frozen batch norm, at 224 px; and a small network of three convolutions from scratch. Films are moved, mirrored and made
brighter. Within the trainer's own steps three clocks run: reading frames and changing them, scaling them to the
network's input, and everything else of an epoch. On a processor the trainer does these one after another, and waits for
the first two. Whether it would gain by having other processes do the first beforehand, as it does for a GPU, is tried:
they take their time from the same cores.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Result, Row, Table, interleaved, parser, processor_seconds, use_threads

BATCH = 16
CASES: dict[str, dict[str, Any]] = {
    "Lite0, 224 px": {
        "preprocess": {"size_px": 224},
        "network": {"train_from": "all", "batch_norm": "frozen"},
    },
    "three convolutions, 128 px": {
        "preprocess": {"size_px": 128, "channels": 1},
        "network": {"backbone": "own:conv3", "weights": "random", "train_from": "all"},
    },
}
CHANGES = {"rotate_degrees": 10.0, "shift": 0.05, "zoom": 0.1, "flip": 0.5, "brightness": 0.1}


@dataclass
class Clock:
    """Wall and processor seconds of a part of the trainer."""

    wall: float = 0.0
    processor: float = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, its time added up here."""

        def measured(*given: Any) -> Any:
            wall, processor = time.perf_counter(), processor_seconds()
            found = work(*given)
            self.wall += time.perf_counter() - wall
            self.processor += processor_seconds() - processor
            return found

        return measured


@dataclass
class Shares:
    """A share of an epoch, an epoch each: of the wall clock and of the processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def recipe_of(told: dict[str, Any]) -> Any:
    from hilum.recipe import Recipe

    fixed = {"title": "b", "classes": {"a": ("a",), "b": ("b",)}, "augmentation": CHANGES}
    return Recipe.model_validate(fixed | told)


def trainer(told: dict[str, Any], films: int, folder: Path) -> Any:
    """The trainer of a network, before its first epoch."""
    import numpy as np
    import torch

    from hilum.cache import ArrayCache
    from hilum.features import resolved
    from hilum.networks import build_classifier
    from hilum.train import Folds, Stage
    from hilum.train.network import _NetworkFit

    recipe = recipe_of(told)
    side = recipe.preprocess.size_px
    cache = ArrayCache(folder / str(side), shape=(side, side), dtype=np.uint8)
    drawn = np.random.default_rng(0).integers(0, 256, (films, side, side)).astype(np.uint8)
    cache.add((str(row), frame) for row, frame in enumerate(drawn))
    torch.manual_seed(0)
    classifier = build_classifier(recipe.network, recipe.preprocess, classes=2)[0]
    recipe = recipe.model_copy(update={"preprocess": resolved(recipe.preprocess, classifier)})
    rows = np.arange(films)
    folds = Folds(rows, rows[:0], rows % 2, np.zeros_like(rows))
    stage = Stage(recipe.schedule, recipe.network, fresh=True)
    return _NetworkFit(classifier, cache.view([str(row) for row in rows]), folds, recipe, stage, 0)


def shares_of(fit: Any, epochs: int) -> dict[str, Shares]:
    """What reading and changing frames, and scaling them, take of each epoch; one before is not counted."""
    shares = {"frames and changes": Shares(), "scaling": Shares()}
    plain = (fit.ahead.each, fit._as_films)
    for epoch in range(epochs + 1):
        whole, parts = Clock(), [Clock(), Clock()]
        reading, scaling = parts
        fit.ahead.each = partial(clocked, plain[0], reading)
        fit._as_films = scaling.around(plain[1])
        whole.around(fit.epoch)(epoch + 1)
        if epoch:
            for part, share in zip(parts, shares.values(), strict=True):
                share.wall.append(part.wall / whole.wall)
                share.processor.append(part.processor / whole.processor)
    fit.ahead.each, fit._as_films = plain
    return shares


def clocked(each: Callable[..., Any], clock: Clock, works: Iterable[Callable[[], Any]]) -> Any:
    """`Ahead.each` of one process, its work timed."""
    return each(clock.around(work) for work in works)


def prepared_by(fit: Any, ahead: Any) -> Callable[[], None]:
    """An epoch whose films `ahead` reads and changes."""

    def epoch() -> None:
        fit.ahead = ahead
        fit.epoch(1)

    return epoch


def ordered_in_memory(fit: Any, *, last: bool) -> Callable[[], None]:
    """An epoch with network and batches in channels_last, as the trainer has them, or in torch's own order."""
    import torch

    order = torch.channels_last if last else torch.contiguous_format
    as_films = type(fit)._as_films

    def epoch() -> None:
        fit.classifier.to(memory_format=order)
        fit._as_films = lambda frames: as_films(fit, frames).contiguous(memory_format=order)
        fit.epoch(1)

    return epoch


def told_of_layout(fit: Any) -> str:
    """Whether weights and batches lie as they should."""
    import torch

    weights = [one for one in fit.classifier.parameters() if one.ndim == 4]
    films = fit._as_films(fit.frames[fit.folds.train[:BATCH]])
    lie = [one.is_contiguous(memory_format=torch.channels_last) for one in (*weights, films)]
    return f"{sum(lie[:-1])} of {len(weights)} convolutions and {'the' if lie[-1] else 'no'} batch in channels_last"


def measured(name: str, fit: Any, epochs: int, rounds: int) -> tuple[list[Row], list[Table], str]:
    from hilum.parallel import Ahead

    shares = shares_of(fit, epochs)
    cells = tuple(
        (part, *(f"{100 * statistics.median(values):.1f} %" for values in (share.wall, share.processor)))
        for part, share in shares.items()
    )
    waits = [sum(each) for each in zip(*(share.wall for share in shares.values()), strict=True)]
    scale = 1000 / len(fit.folds.train)
    with Ahead(1) as none, Ahead(2) as two:
        beforehand = interleaved(
            {"beforehand": prepared_by(fit, two), "in turn": prepared_by(fit, none)}, rounds=rounds
        )
        fit.ahead = none
    saved = Row.of(
        f"{name}: an epoch, films read and changed beforehand by two processes",
        "by the trainer itself",
        beforehand,
        ours="beforehand",
        theirs="in turn",
        unit="ms a film",
        scale=scale,
        clock="wall",
        notes=f"the trainer waits for films {statistics.median(waits):.1%} of its time",
    )
    told = told_of_layout(fit)
    ways = {"channels_last": ordered_in_memory(fit, last=True), "torch's order": ordered_in_memory(fit, last=False)}
    timings = interleaved(ways, rounds=rounds)
    layout = Row.of(
        f"{name}: an epoch in channels_last",
        "torch's own order",
        timings,
        ours="channels_last",
        theirs="torch's order",
        unit="ms a film",
        scale=scale,
        notes=told,
    )
    shown = Table(f"{name}, {fit.precision}: share of an epoch", ("part", "wall", "processor"), cells)
    return [saved, layout], [shown], f"{name}: {told}."


def main() -> None:
    options = parser(__doc__)
    options.add_paced("films", "films", full=64, quick=32)
    options.add_paced("epochs", "epochs a round", full=5, quick=2)
    options.add_paced("rounds", "rounds", full=5, quick=2)
    options.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    told = options.parse_args()
    use_threads(told.threads)
    rows, tables, lines = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, case in CASES.items():
            fit = trainer(case | {"schedule": schedule(told.precision)}, told.films, Path(folder))
            found = measured(name, fit, told.epochs, told.rounds)
            rows += found[0]
            tables += found[1]
            lines.append(found[2])
    Result.of("finetuning", __doc__ or "", rows, told, tables=tables, told=lines).deliver(told)


def schedule(precision: str) -> dict[str, Any]:
    """AdamW in batches, with no end: the benchmark says how many epochs."""
    told = {"optimiser": "adamw", "learning_rate": 1e-4, "batch_films": BATCH, "epochs": 99, "patience": None}
    return told | {"precision": precision}


if __name__ == "__main__":
    main()
