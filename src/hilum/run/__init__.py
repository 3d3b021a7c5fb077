"""Run: the whole way from a recipe and a folder of films to an evaluated bundle, in one folder that can be continued.

    recipe.toml         what was asked
    index.parquet       every film, in use or not, with its reason
    splits/*.csv        who trains, tunes, tests, a file a division
    divisions/NAME/     history.csv, predictions.parquet and division.json of one division
    predictions.parquet all divisions' tested films
    evaluation.json     figures with intervals; scores.csv holds the same as a table
    unseen.csv          what films of classes it was never shown are called, where the recipe names such
    bundle/             what is released
    run.json            how it came to be: versions, machine, seconds

Every file is written aside and renamed, so what is there is whole; a run that was interrupted goes on behind it.
"""

from hilum.parallel import Watch, unwatched
from hilum.run.elsewhere import evaluate_elsewhere, seen_in_training
from hilum.run.folder import REFIT, Run, find_recipe
from hilum.run.training import Order, measure_floors, train_run, train_runs
from hilum.run.unseen import EVERYWHERE

__all__ = [
    "EVERYWHERE",
    "REFIT",
    "Order",
    "Run",
    "Watch",
    "evaluate_elsewhere",
    "find_recipe",
    "measure_floors",
    "seen_in_training",
    "train_run",
    "train_runs",
    "unwatched",
]
