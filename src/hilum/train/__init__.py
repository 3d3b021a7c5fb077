"""Train: fit a classifier on the train fold, stop and choose by the tune fold, never look at the test fold.

Two ways. With a frozen backbone heads are fitted on cached vectors, many at once, in seconds (`head`). Otherwise the
network itself is trained with Lightning Fabric: CPU or GPU, bfloat16, several processes under `torchrun` (`network`).
Either way the best epoch by tune loss is what remains.
"""

from hilum.train.epochs import HISTORY, Best, Fitted, Folds, Stage, class_weights, learning_rate, make_optimiser
from hilum.train.halving import Halving, judge_halving
from hilum.train.head import HeadTask, drawn_head, fit_heads, training_views
from hilum.train.network import fit_network
from hilum.train.processes import all_or_none, is_leader, leader_first, processor
from hilum.train.weighing import unparted

__all__ = [
    "HISTORY",
    "Best",
    "Fitted",
    "Folds",
    "Halving",
    "HeadTask",
    "Stage",
    "all_or_none",
    "class_weights",
    "drawn_head",
    "fit_heads",
    "fit_network",
    "is_leader",
    "judge_halving",
    "leader_first",
    "learning_rate",
    "make_optimiser",
    "processor",
    "training_views",
    "unparted",
]
