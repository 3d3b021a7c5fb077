"""Train a frozen VGG16 the way a notebook of 2020 does, in Keras, and the way hilum does.

    python benchmarks/notebook_training.py [--root DATA] [--repeats 3] [--page docs/explanation/speed.md]

Schedule of Mjrovai/covid19Xray (May 2020): VGG16 frozen, 2 x 2 averages of its last map, dense 128, dropout .5, dense
2, Adam 1e-4 with decay, 224 px, batches of 16, 20 epochs, rotation up to 15 degrees filled with the nearest grey, 214
films of which a fifth tunes. The notebook sends every film through the network in every epoch. hilum computes what
the frozen part says of K views of each training film once, and trains the head on that; with K = epochs it makes as
many passes over training films as the notebook, and still only one over those that tune.

Both sides have the same convolutions, drawn at random (nothing is downloaded; a picture's vectors are compared), the
same films, folds, threads and number of steps, and start from files: reading and resizing count, importing libraries
and indexing the films do not. Each training runs in a process of its own, the ways in turn; ratios are taken round by
round. Keras gets an environment of its own (`pip install tensorflow-cpu`) beside hilum's cache, made once.

Random convolutions tell little about films, so accuracy here says only that both sides learn alike. Whether fewer
distinct views cost accuracy is asked of packaged weights (EfficientNet-Lite0) on real films, with --root.

Without --root films are simulated. Goals: 40 times with K = 4, 7 times with K = epochs, both in processor time and set
on a processor with AMX, whose bfloat16 is 6.5 times its float32; where it is twice, as with AVX-512 alone, arithmetic
allows a third of that. All of it takes the processor an hour and a half or two; --repeats 1 --views 1 4 a quarter.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import Ratio, Result, Row, Table, parser
from pages import put_into
from peers import KERAS_FOLDER, apart, keras_python
from speed_page import section

from hilum.files import write_json
from hilum.index import Index, build_index
from hilum.recipe import Recipe, parse_recipe
from hilum.selection import TARGET, select_films
from hilum.simulate.cohort import CohortSpec, simulate_cohort
from hilum.sources import read_source
from hilum.split import Split, make_splits

SIDE, BATCH, DEGREES = 224, 16, 15
KERAS = "Keras, every film in every epoch"
TASKS = {
    "COVID-19 against normal": {"covid19": "covid19", "normal": "normal"},
    "bacterial against viral": {"bacterial": "bacterial_pneumonia", "viral": "viral_pneumonia"},
}
"""On real films: the notebook's, nearly solved by the source alone, and one within a hospital, which is not."""

RECIPE = """
title = "A notebook's training"
[films]
sources = ["{source}"]
duplicates = "all"
[classes]
{classes}
[split]
tune = 0.2
test = 0.0
seeds = {seeds}
[preprocess]
size_px = {side}
mean = [0.0]
std = [1.0]
[network]
backbone = "{backbone}"
weights = "{weights}"
pooling = "avg2"
hidden = [128]
dropout = 0.5
standardise = false
[augmentation]
rotate_degrees = {degrees}
fill = "edge"
[schedule]
optimiser = "adam"
learning_rate = 1e-4
decay = "inverse"
class_weights = "none"
batch_films = {batch}
epochs = {epochs}
patience = 0
views = {views}
precision = "{precision}"
"""


@dataclass(frozen=True)
class Way:
    """How hilum trains: views a training film, and the precision of their features."""

    views: int
    precision: str

    @property
    def name(self) -> str:
        return f"hilum, {self.precision}, K = {self.views}"


def recipe_for(
    source: str,
    classes: dict[str, str],
    *,
    epochs: int,
    views: int,
    precision: str = "float32",
    network: tuple[str, str] = ("vgg16", "random"),
    seeds: Sequence[int] = (0,),
) -> Recipe:
    """The notebook's schedule; `network` is backbone and weights. Packaged weights keep the scaling they need."""
    text = RECIPE.format(
        source=source,
        classes="\n".join(f'{name} = ["{label}"]' for name, label in classes.items()),
        seeds=list(seeds),
        side=SIDE,
        backbone=network[0],
        weights=network[1],
        degrees=DEGREES,
        batch=BATCH,
        epochs=epochs,
        views=views,
        precision=precision,
    )
    if network[1] != "random":
        text = text.replace("mean = [0.0]\nstd = [1.0]\n", "")
    return parse_recipe(text)


def chosen_films(root: Path, recipe: Recipe, films: int) -> Index:
    """As many films of each of the two classes, drawn at random."""
    index = select_films(
        build_index((record for s in recipe.films.sources for record in read_source(s, root)), root), recipe
    )
    drawn = index.films.groupby(TARGET)["image_id"].sample(n=films // 2, random_state=0)
    return index.leave_out(~index.table["image_id"].isin(drawn), "not drawn")


def simulated(folder: Path, films: int) -> Path:
    """Films of the two classes, a few more than asked for: classes are not exactly even."""
    spec = CohortSpec(films=films + max(8, films // 5), labels=("normal", "covid19"))
    simulate_cohort(spec, folder)
    return folder


def lay_out(job: Path, index: Index, recipe: Recipe) -> Split:
    """Write what both sides read: the films, their folds, and for Keras a list of them."""
    index.save(job / "index.parquet")
    split = make_splits(index.films, recipe.split)[0]
    split.save(job)
    numbers = {name: number for number, name in enumerate(recipe.class_names)}
    table = split.table.assign(path=[str(index.path(path).resolve()) for path in split.table["path"]])
    table = table.assign(**{"class": table["target"].map(numbers)})
    table[["path", "class", "fold"]].to_csv(job / "films.csv", index=False)
    return split


def by_hilum(work: str, job: Path, cache: Path, threads: int) -> dict[str, Any]:
    script = str(Path(__file__).with_name("notebook_hilum.py"))
    return apart([sys.executable, script, work, str(job)], cache=cache, threads=threads)


def timings(options: argparse.Namespace, job: Path, recipe: Recipe, split: Split) -> dict[str, list[dict[str, Any]]]:
    """Every way's answers, a round each."""
    told = {"side": SIDE, "batch": BATCH, "degrees": DEGREES, "epochs": options.epochs, "threads": options.threads}
    told |= {"split": f"{split.name}.csv", "recipe": recipe.model_dump(mode="json")}
    write_json(job / "job.json", told)
    native = by_hilum("hand_over", job, job / "handed", options.threads)["bfloat16"]
    precisions = ("float32", "bfloat16") if native else ("float32",)
    if options.precisions == "best":
        precisions = precisions[-1:]
    ways = [Way(views, precision) for precision in precisions for views in options.views]
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in (KERAS, *(way.name for way in ways))}
    python = keras_python(options.peer)
    peer = str(Path(__file__).with_name("notebook_keras.py"))
    for repeat in range(options.repeats):
        write_json(job / "job.json", told | {"repeat": repeat})
        answers[KERAS].append(apart([python, peer, str(job)], cache=job, threads=options.threads))
        say(KERAS, answers[KERAS][-1])
        for way in ways:
            schedule = recipe.schedule.model_copy(
                update={"views": way.views, "precision": way.precision, "seed": repeat}
            )
            changed = recipe.model_copy(update={"schedule": schedule}).model_dump(mode="json")
            write_json(job / "job.json", told | {"recipe": changed})
            with tempfile.TemporaryDirectory() as cold:
                answers[way.name].append(by_hilum("train_with_hilum", job, Path(cold), options.threads))
            say(way.name, answers[way.name][-1])
    return answers


def say(name: str, answer: dict[str, Any]) -> None:
    stages = "".join(f"  {stage} {seconds:.1f}" for stage, seconds in answer.get("stages", {}).items())
    print(
        f"{name:40} wall {answer['wall']:8.1f} s  processor {answer['cpu']:8.1f} s{stages}", file=sys.stderr, flush=True
    )


def spread(values: Sequence[float], places: int) -> str:
    """Median, and the range where there is one."""
    middle = f"{np.median(values):.{places}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{places}f}-{max(values):.{places}f})"


def timing_table(answers: dict[str, list[dict[str, Any]]], split: Split, epochs: int) -> Table:
    """A row a way."""
    columns = ("way", "passes", "processor s", "wall s", "Keras's processor time over it", "wall", "tune accuracy")
    lines = []
    keras = answers[KERAS]
    every = (len(split.rows("train")) + len(split.rows("tune"))) * epochs
    for name, rounds in answers.items():
        cells = [name, f"{rounds[0].get('passes', every):,}"]
        cells += [spread([row["cpu"] for row in rounds], 1), spread([row["wall"] for row in rounds], 1)]
        for kind in ("cpu", "wall"):
            ratios = [peer[kind] / row[kind] for peer, row in zip(keras, rounds, strict=True)]
            cells.append("1" if name == KERAS else spread(ratios, 1))
        cells.append(spread([row["accuracy"] for row in rounds], 2))
        lines.append(tuple(cells))
    return Table("Trainings", columns, tuple(lines))


def accuracy_table(options: argparse.Namespace, work: Path) -> Table:
    """Packaged weights on real films: does it matter how many distinct views a head is trained on?"""
    columns = ("films", "K", "tune accuracy", "difference to most views", "tune loss", "difference")
    lines = []
    most = max(options.views)
    for number, (task, classes) in enumerate(TASKS.items()):
        job = work / f"task-{number}"
        job.mkdir()
        given = {
            "epochs": options.epochs,
            "network": ("tf_efficientnet_lite0", "packaged"),
            "seeds": range(options.divisions),
        }
        index = chosen_films(options.root, recipe_for("sandrofab", classes, views=1, **given), options.films)
        index.save(job / "index.parquet")
        scores = {}
        for views in sorted(options.views, reverse=True):
            recipe = recipe_for("sandrofab", classes, views=views, **given)
            write_json(job / "job.json", {"threads": options.threads, "recipe": recipe.model_dump(mode="json")})
            scores[views] = pd.DataFrame(by_hilum("score_views", job, job / "cache", options.threads))
        for views in sorted(options.views):
            cells = [task, str(views)]
            for kind in ("accuracy", "loss"):
                cells.append(f"{scores[views][kind].mean():.3f}")
                cells.append("" if views == most else with_deviation(scores[views][kind] - scores[most][kind]))
            lines.append(tuple(cells))
    title = (
        "Whether fewer views cost accuracy: EfficientNet-Lite0 with ImageNet weights in VGG16's place, "
        f"{options.films} films, last epoch; mean over {options.divisions} divisions by group, and mean and standard "
        f"deviation of the differences to K = {most} in the same divisions."
    )
    return Table(title, columns, tuple(lines))


def with_deviation(differences: pd.Series) -> str:
    return f"{differences.mean():+.3f} (sd {differences.std():.3f})"


def rows_of(answers: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> list[Row]:
    """The goals: K = 4 views of a film, and one for every epoch."""
    goals = {4: 40.0, options.epochs: 7.0}
    return [row_of(answers, views, goal, options) for views, goal in goals.items() if views in options.views]


def row_of(answers: dict[str, list[dict[str, Any]]], views: int, goal: float, options: argparse.Namespace) -> Row:
    """The quicker precision with so many views against Keras."""
    names = [name for name in answers if name.endswith(f"K = {views}")]
    best = min(names, key=lambda name: float(np.median(seconds(answers[name]))))
    keras, ours = answers[KERAS], answers[best]
    ratios = [theirs / mine for theirs, mine in zip(seconds(keras), seconds(ours), strict=True)]
    fewer = options.passes / ours[0]["passes"]
    accuracy = [float(np.median([one["accuracy"] for one in of])) for of in (ours, keras)]
    how = "fresh augmentation every epoch" if views == options.epochs else f"K = {views} views a film"
    return Row(
        f"frozen VGG16 recipe, {options.films} films, {options.epochs} epochs, {how}",
        "the notebook's way in Keras",
        ratio=Ratio.of(ratios),
        goal=goal,
        ours=float(np.median(seconds(ours))),
        theirs=float(np.median(seconds(keras))),
        unit="s, processor",
        n=len(ratios),
        why=f"{fewer:.1f} times fewer passes through VGG16, and a pass costs {np.median(ratios) / fewer:.1f} times "
        "less, all else included; the goal was set where bfloat16 makes a pass 6.5 times cheaper (AMX)",
        notes=f"{best}; accuracy {accuracy[0]:.2f}, Keras's {accuracy[1]:.2f}",
    )


def seconds(rounds: list[dict[str, Any]]) -> list[float]:
    """Of the processor, a value a round."""
    return [one["cpu"] for one in rounds]


def result_of(options: argparse.Namespace, work: Path) -> Result:
    """Everything measured."""
    root = options.root or simulated(work / "films", options.films)
    job = work / "job"
    job.mkdir()
    source = "sandrofab" if options.root else "simulated"
    recipe = recipe_for(source, TASKS["COVID-19 against normal"], epochs=options.epochs, views=1)
    index = chosen_films(root, recipe, options.films)
    split = lay_out(job, index, recipe)
    answers = timings(options, job, recipe, split)
    folds = len(split.rows("train")), len(split.rows("tune"))
    options.passes = sum(folds) * options.epochs
    told = (
        f"Frozen VGG16, {SIDE} px, {folds[0]} films to train and {folds[1]} to tune ({source}), {options.epochs} "
        f"epochs, batches of {BATCH}, rotation up to {DEGREES} degrees; {answers[KERAS][0]['versions']}. Median of "
        f"{options.repeats} (range). A pass is one film through VGG16. K is the number of distinct views a training "
        "film is seen in. The convolutions are random, so accuracy says little, and the same on both sides: a film's "
        f"vectors differ by {answers[KERAS][0]['apart']:.0e} of their length."
    )
    tables = [timing_table(answers, split, options.epochs)]
    if options.root and not options.quick:
        tables.append(accuracy_table(options, work))
    rows = rows_of(answers, options)
    return Result.of("notebook_training", "A notebook's training", rows, options, tables=tables, told=(told,))


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--root", type=Path, help="folder of data sets with sandrofab in it; simulated films without")
    made.add_paced("films", "films", full=214, quick=16)
    made.add_paced("epochs", "epochs", full=20, quick=6)
    made.add_argument("--views", type=int, nargs="+", metavar="K", help="default 1, 4 and one for every epoch")
    made.add_argument("--precisions", choices=("all", "best"), default="all", help="best: this processor's quickest")
    made.add_paced("repeats", "repeats", full=3, quick=1)
    made.add_argument("--divisions", type=int, default=10, help="for the table of accuracies")
    made.add_argument("--page", type=Path, help="Markdown page to write the tables into, between markers")
    made.add_argument("--peer", type=Path, default=KERAS_FOLDER, help="environment for Keras")
    options = made.parse_args()
    options.views = options.views or ([] if options.quick else [1]) + [4, options.epochs]
    options.precisions = "best" if options.quick else options.precisions
    return options


def main() -> None:
    options = asked()
    with tempfile.TemporaryDirectory() as work:
        result = result_of(options, Path(work))
    result.deliver(options)
    if options.page:
        put_into(options.page, result.name, section(result))


if __name__ == "__main__":
    main()
