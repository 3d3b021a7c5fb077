"""Train: fit a classifier on the train fold, stop and choose by the tune fold, never look at the test fold.

Two ways. With a frozen backbone the head is fitted on cached vectors, in seconds (`head`). Otherwise the network itself
is trained with Lightning Fabric: CPU or GPU, bfloat16, several processes under `torchrun` (`network`). Either way the
best epoch by tune loss is what remains.
"""

from hilum.train.epochs import HISTORY, Best, Fitted, Folds, Stage, class_weights, learning_rate, make_optimiser
from hilum.train.head import fit_head, training_views
from hilum.train.network import fit_network
from hilum.train.processes import is_leader, leader_first, processor, wait_for_all
from hilum.train.weighing import unparted

__all__ = [
    "HISTORY",
    "Best",
    "Fitted",
    "Folds",
    "Stage",
    "class_weights",
    "fit_head",
    "fit_network",
    "is_leader",
    "leader_first",
    "learning_rate",
    "make_optimiser",
    "processor",
    "training_views",
    "unparted",
    "wait_for_all",
]
