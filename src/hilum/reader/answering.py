"""A classifier's probability, the interval around it, and when it is better not to decide."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hilum.engine import FilmAnswers
from hilum.predict import decide, findings_of
from hilum.reader.loading import Loaded
from hilum.reader.reading import Answer, Held, Outcome, Policy
from hilum.records import NORMAL, Finding

HALF = 0.5
TINY = 1e-12
NO_REFERENCE = "no interval: no reference.safetensors lies beside the bundle; hilum train makes one"
TOO_FEW = "no interval: a class has too few films that networks were tested on"


def answer(one: Loaded, told: FilmAnswers | str, policy: Policy) -> Answer:
    """What a classifier says of a film.

    Args:
        one: the classifier.
        told: by its network, or why it is shown nothing of the film.
        policy: what to do with a bundle whose audit says FAIL.
    """
    blank = Answer(
        bundle=one.name,
        title=one.title,
        digest=one.digest,
        outcome=Outcome.INCONCLUSIVE,
        label=None,
        findings=(),
        interval=_how(one),
        reasons=(),
        verdict=one.verdict,
        headline=one.headline,
    )
    if isinstance(told, str):
        return replace(blank, reasons=(told,))
    row = one.bundle.probabilities(told.logits)[0]
    if not np.isfinite(row).all():
        return replace(blank, reasons=("the network gives no number for this film: check the bundle's weights",))
    findings = findings_of(one.bundle, row)
    label, held = decide(findings), _held(one, findings)
    reasons = (*_undecided(held, label), *_unlike(one, told), *_failed(one, policy))
    outcome = Outcome.INCONCLUSIVE if reasons else _sign(label, one.classes)
    return replace(blank, outcome=outcome, label=label, findings=held, reasons=reasons)


def _sign(label: str, classes: Sequence[str]) -> Outcome:
    """`normal` is negative; of two classes without it the second is, as it is the one without a threshold."""
    negative = label == NORMAL if NORMAL in classes or len(classes) > 2 else label != classes[0]
    return Outcome.NEGATIVE if negative else Outcome.POSITIVE


def _how(one: Loaded) -> str:
    if one.reference is None:
        return NO_REFERENCE
    if one.reference.intervals is None:
        return TOO_FEW
    films = f"{len(one.reference.labels)} films of {one.reference.groups} groups"
    meant = ", with as many of every class" if one.reference.balanced else ""
    return (
        f"low and high hold the bundle's probability and the Venn-Abers interval over {films} that networks were "
        f"tested on and not trained on; they are meant for films like those{meant}"
    )


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Calibrated probabilities as log-odds; finite for 0 and 1 too."""
    shares = np.clip(probabilities, TINY, 1 - TINY)
    told: NDArray[np.float64] = np.log(shares) - np.log1p(-shares)
    return told


def _held(one: Loaded, findings: Sequence[Finding]) -> tuple[Held, ...]:
    """The findings with their intervals; of two classes the second's is what the first's leaves."""
    ends: list[tuple[float, float]] | None = None
    if one.reference is not None and one.reference.intervals is not None:
        scores = log_odds(np.array([finding.probability for finding in findings])).tolist()
        told = [one.reference.intervals[0](scores[0])]
        if len(findings) == 2:
            told.append((1 - told[0][1], 1 - told[0][0]))
        else:
            told += [interval(score) for interval, score in zip(one.reference.intervals[1:], scores[1:], strict=True)]
        ends = told
    return tuple(
        Held(
            label=finding.label,
            probability=finding.probability,
            threshold=finding.threshold,
            low=min(ends[place][0], finding.probability) if ends else None,
            high=max(ends[place][1], finding.probability) if ends else None,
        )
        for place, finding in enumerate(findings)
    )


def _undecided(held: Sequence[Held], label: str) -> Iterator[str]:
    """Why the numbers alone do not decide."""
    if held[0].low is None or held[0].high is None:
        return
    if len(held) == 2:
        threshold = HALF if held[0].threshold is None else held[0].threshold
        if held[0].low < threshold <= held[0].high:
            yield (
                f"the interval of {held[0].label}, {held[0].low:.2f} to {held[0].high:.2f}, spans the threshold "
                f"{threshold:.2f}"
            )
        return
    decided = next(one for one in held if one.label == label)
    rival = max((one for one in held if one is not decided), key=lambda one: one.high or 0.0)
    if decided.low is not None and rival.high is not None and decided.low <= rival.high:
        ends = f"from {decided.low:.2f} and to {rival.high:.2f}"
        yield f"the intervals of {decided.label} and {rival.label} overlap: {ends}"


def _unlike(one: Loaded, told: FilmAnswers) -> Iterator[str]:
    """Why a film is not one that the classifier can be expected to know."""
    cloud = one.reference.cloud if one.reference else None
    if cloud is None or math.isinf(cloud.limit):
        return
    distance = float(cloud.distances(told.vector)[0])
    if not distance <= cloud.limit:
        yield (
            f"unlike the films the classifier was made with: Mahalanobis distance {distance:.1f}; of films kept out "
            f"99 % are within {cloud.limit:.1f}"
        )


def _failed(one: Loaded, policy: Policy) -> Iterator[str]:
    if one.verdict == "FAIL" and policy.on_fail == "refuse":
        yield "the classifier's audit says FAIL, and by the policy asked for no such classifier decides"
