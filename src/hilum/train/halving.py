"""Whether vectors that a frozen backbone computes in bfloat16 may stand for those of float32, asked of a tune fold.

Heads are then trained on the former and score films by the latter. bfloat16 keeps eight binary digits, and what every
layer rounds off adds up: an untrained residual network's vectors move by 0.4 % of their length, those of
EfficientNet-Lite0, which has no shortcut around most of its layers, by 7 % at 224 px.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

MEDIAN, LARGEST = 0.1, 0.25
"""Most that vectors may lie apart, over their length: the median film and the worst. Chest films lie 0.6 apart in
Lite0's vectors, and a film moved by half of that may as well be another one."""
LOSS, ACCURACY = 0.05, 0.02
"""Most that the tune loss (nats) and accuracy of one head may differ: limits set, not measured. One film of a small
fold may always change sides."""


@dataclass(frozen=True)
class Halving:
    """Vectors of the same films in float32 and bfloat16, and what one head makes of both: its tune loss, accuracy."""

    films: int
    median: float
    largest: float
    loss: tuple[float, float]
    accuracy: tuple[float, float]

    @property
    def problems(self) -> list[str]:
        """A sentence for each limit that is passed."""
        found = []
        for which, value, limit in (("median", self.median, MEDIAN), ("largest", self.largest, LARGEST)):
            if not value <= limit:
                found.append(f"lie {value:.1%} of their length from those in float32 ({which}; accepted: {limit:.0%})")
        if not abs(self.loss[1] - self.loss[0]) <= LOSS:
            found.append(
                f"give a tune loss of {self.loss[1]:.3f} in place of {self.loss[0]:.3f} (accepted: {LOSS} off)"
            )
        if not abs(self.accuracy[1] - self.accuracy[0]) <= max(ACCURACY, 1.001 / self.films):
            found.append(f"give a tune accuracy of {self.accuracy[1]:.3f} in place of {self.accuracy[0]:.3f}")
        return [f"vectors in bfloat16 {one}; schedule.precision = 'float32' avoids it" for one in found]

    @property
    def account(self) -> dict[str, Any]:
        """For the run's record."""
        return {
            "films": self.films,
            "median_difference": self.median,
            "largest_difference": self.largest,
            "tune_loss": dict(zip(("float32", "bfloat16"), self.loss, strict=True)),
            "tune_accuracy": dict(zip(("float32", "bfloat16"), self.accuracy, strict=True)),
            "within_limits": not self.problems,
        }


def judge_halving(
    head: nn.Module, whole: NDArray[np.float32], halved: NDArray[np.float32], targets: NDArray[np.int64]
) -> Halving:
    """Compare vectors (N, size) of N >= 1 films in float32 with those in bfloat16, and score both with one head.

    Args:
        head: fitted; left in evaluation mode.
        whole: computed in float32.
        halved: computed in bfloat16.
        targets: (N,) class numbers.
    """
    lengths = np.maximum(np.linalg.norm(whole, axis=1), np.finfo(np.float32).tiny)
    apart = np.linalg.norm(halved - whole, axis=1) / lengths
    scores = [_scored(head, torch.from_numpy(vectors), torch.from_numpy(targets)) for vectors in (whole, halved)]
    (loss, accuracy), (halved_loss, halved_accuracy) = scores
    return Halving(
        films=len(targets),
        median=float(np.median(apart)),
        largest=float(apart.max()),
        loss=(loss, halved_loss),
        accuracy=(accuracy, halved_accuracy),
    )


def _scored(head: nn.Module, vectors: Tensor, targets: Tensor) -> tuple[float, float]:
    with torch.inference_mode():
        logits = head.eval()(vectors)
        return float(functional.cross_entropy(logits, targets)), float((logits.argmax(1) == targets).float().mean())
