"""Heads on a frozen backbone's vectors: a loop of torch modules, head by head, against hilum's stacks.

    python benchmarks/heads.py [--films 700] [--epochs 20] [--rounds 5] [--json FILE] [--quick]

As many vectors as films are drawn, of the length that EfficientNet-Lite0 gives, or its last but one level in nine
fields; what they hold does not matter, for every head goes through all its epochs. The heads are those of a comparison:
recipes with and without dropout or decay, in five folds with three seeds. The loop is what a notebook does: torch's
AdamW, a shuffled epoch in batches of 32, the tune loss after each, and a copy of the best weights. Both sides have the
same heads, films and number of steps, and run in turn in one process and one thread.

`lbfgs` reads all vectors at every step; such heads are fitted one after another. How much of that is arithmetic, and
not the interpreter, is told by torch's profiler: what is not could be saved at most.
"""

import copy
from collections.abc import Sequence
from typing import Any

from measuring import Ratio, Result, Row, Table, interleaved, parser, timed, use_threads

SEEDS, FOLDS, BATCH = 3, 5, 32
RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"schedule": {"weight_decay": 0.1}},
    {"schedule": {"learning_rate": 0.003}},
    {"network": {"dropout": 0.3}},
)
CASES = {"15 heads on 1,280": (1280, 1, 15), "60 heads on 1,280": (1280, 4, 60), "15 heads on 11,520": (11520, 1, 15)}
CASES |= {"one head on 1,280": (1280, 1, 1), "one head on 11,520": (11520, 1, 1)}
"""Numbers a vector, recipes, heads."""
LOOP, STACKS = "a loop of torch modules", "hilum"


def recipes(count: int, optimiser: str, epochs: int) -> list[Any]:
    """So many recipes on one backbone."""
    from hilum.recipe import Recipe

    made = []
    for told in RECIPES[:count]:
        schedule = {"optimiser": optimiser, "epochs": epochs, "batch_films": BATCH, "patience": None}
        parts = {"network": told.get("network", {}), "schedule": schedule | told.get("schedule", {})}
        made.append(Recipe.model_validate({"title": "b", "classes": {"a": ("a",), "b": ("b",)}, **parts}))
    return made


def tasks(bank: Any, of: Sequence[Any], heads: int) -> list[Any]:
    """A head a recipe, seed and fold, drawn anew."""
    import numpy as np

    from hilum.networks.classifier import _head
    from hilum.train import Folds, HeadTask, drawn_head

    films, size = bank.vectors.shape
    targets = (np.arange(films) % 3 == 0).astype(np.int64)
    made = []
    for recipe in of:
        for seed in range(SEEDS):
            order = np.random.default_rng(seed).permutation(films)
            for fold in range(FOLDS):
                rest = np.concatenate([part for n, part in enumerate(np.array_split(order, FOLDS)) if n != fold])
                tune, train = rest[: len(rest) // 5], rest[len(rest) // 5 :]
                head = drawn_head(_head(recipe.network, size, 2), seed)
                folds = Folds(train, tune, targets, np.zeros_like(train))
                made.append(HeadTask(head, bank, folds, recipe, seed, train[None], tune))
    return made[:heads]


def looped(task: Any) -> float:
    """Fit one head as a notebook does; returns its lowest tune loss."""
    import torch
    from torch.nn import functional

    from hilum.networks.classifier import Standardise
    from hilum.train import class_weights

    head, schedule, vectors = task.head, task.recipe.schedule, task.bank.vectors
    for layer in head:
        if isinstance(layer, Standardise):
            layer.measure(vectors[task.shown[0]])
    targets = torch.tensor(task.folds.targets)
    weights = class_weights(task.folds.targets[task.folds.train], 2, schedule.balance)
    optimiser = torch.optim.AdamW(head.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    train, tune, best = torch.from_numpy(task.folds.train), torch.from_numpy(task.tune), float("inf")
    for _ in range(schedule.epochs):
        head.train()
        for rows in torch.split(train[torch.randperm(len(train))], schedule.batch_films):
            loss = functional.cross_entropy(head(vectors[rows]), targets[rows], weight=weights)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            optimiser.step()
            loss.item()
        head.eval()
        with torch.no_grad():
            tuned = functional.cross_entropy(head(vectors[tune]), targets[tune], weight=weights).item()
        if tuned < best:
            best, _state = tuned, copy.deepcopy(head.state_dict())
    return float(best)


def bank_of(films: int, size: int) -> Any:
    import torch

    from hilum.features import VectorBank

    return VectorBank(torch.randn(films, size, generator=torch.Generator().manual_seed(0)), {})


ALONE = "one head takes a fraction of a second; beginning it, filling up its last batch and scoring it cost the rest"
LONG = "what a stack spares is calls, whose share of a step shrinks with the length of the vectors"


def against_a_loop(name: str, films: int, epochs: int, rounds: int) -> tuple[Row, Table]:
    from hilum.train import fit_heads

    size, count, heads = CASES[name]
    bank, of = bank_of(films, size), recipes(count, "adamw", epochs)
    ways = {
        LOOP: lambda: [looped(task) for task in tasks(bank, of, heads)],
        STACKS: lambda: fit_heads(tasks(bank, of, heads)),
    }
    timings = interleaved(ways, rounds=rounds)
    why = ALONE if heads == 1 else LONG
    row = Row.of(f"{name} numbers", LOOP, timings, ours=STACKS, theirs=LOOP, unit="s", scale=1.0, goal=0.95, why=why)
    return row, timings.table(f"{name} numbers", against=LOOP, unit="s", scale=1.0)


def whole_fits(size: int, films: int, epochs: int, rounds: int) -> tuple[str, ...]:
    """What 15 heads by `lbfgs` take one after another: the most that fitting them together could save."""
    from hilum.train import fit_heads

    bank, of = bank_of(films, size), recipes(1, "lbfgs", epochs)
    spent = [timed(lambda: fit_heads(tasks(bank, of, 15))) for _ in range(rounds)]
    return f"{size:,}", str(Ratio.of(one.processor for one in spent)), str(Ratio.of(one.wall for one in spent))


def main() -> None:
    options = parser(__doc__, threads=1)
    options.add_paced("films", "films", full=700, quick=400)
    options.add_paced("epochs", "epochs", full=20, quick=4)
    options.add_paced("rounds", "rounds", full=5, quick=3)
    told = options.parse_args()
    use_threads(told.threads)
    found = [against_a_loop(name, told.films, told.epochs, told.rounds) for name in CASES]
    title = "15 heads by lbfgs, one after another"
    head = ("numbers", "processor s", "wall s")
    cells = tuple(whole_fits(size, told.films, told.epochs, told.rounds) for size in (1280, 11520))
    tables = [*(table for _, table in found), Table(title, head, cells)]
    Result.of("heads", __doc__ or "", [row for row, _ in found], told, tables=tables).deliver(told)


if __name__ == "__main__":
    main()
