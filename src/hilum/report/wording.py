"""How results are put into words and digits: figures with intervals, the headline and the sentence it means."""

from dataclasses import dataclass
from typing import Literal

from hilum.evaluate import Evaluation, Score, best_floor, headline_score

Standing = Literal["fail", "warn", "above"]

METRICS = {
    "auroc": "AUROC",
    "macro_auroc": "macro AUROC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "recall": "recall (sensitivity)",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "dice": "Dice",
    "iou": "IoU",
    "macro_f1": "macro F1",
    "prevalence": "prevalence",
    "brier": "Brier score",
    "ece": "ECE",
    "log_loss": "log loss",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
FLOORS = {
    "header": ("file header only", "a model that only reads file headers"),
    "thumbnail": ("8 × 8 thumbnail only", "a model that only sees an 8 × 8 thumbnail"),
    "source": ("source only", "a model that only knows which source a film comes from"),
    "border": ("border ring only", "a model that only sees the border of the film"),
    "corners": ("corners only", "a model that only sees the corners of the film"),
    "histogram": ("grey-level histogram only", "a model that only sees the grey-level histogram"),
    "attributes": ("age, sex, view, device only", "a model that only knows age, sex, view and device"),
}
"""Floor -> how a figure names it, how a sentence does."""

HIGH_FLOOR = 0.75
"""An AUROC from here on without a look at a lung means that the data set, not the disease, may be told apart."""
TOO_GOOD = 0.95
"""Internal AUROC on composite data above which a result is unverified: the prospective ceiling is near .70
(Sun et al. 2022, Radiology: Artificial Intelligence, doi:10.1148/ryai.210217)."""


FALL = 0.10
"""AUROC lost on sources never seen from which on the score inside is not the one to expect; well-curated sets lose
.01-.03."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The figures that are never shown apart, and what they mean."""

    score: Score | None
    floor: Score | None
    """The highest shortcut floor."""
    above: float | None
    elsewhere: Score | None
    """The score on sources the network never saw; None where there were none."""
    standing: Standing
    sentence: str


def headline(evaluation: Evaluation) -> Headline:
    """The headline of an evaluation: its score, its highest floor, what is left above it, the score elsewhere."""
    inside, outside = headline_score(evaluation), headline_score(evaluation, "external")
    score = inside or outside
    floor = best_floor(evaluation.floors)
    above = None
    if score and floor and score.value is not None and floor.value is not None:
        above = score.value - floor.value
    standing, sentence = _meaning(score, floor, outside if inside else None)
    return Headline(score=score, floor=floor, above=above, elsewhere=outside, standing=standing, sentence=sentence)


def _meaning(score: Score | None, floor: Score | None, elsewhere: Score | None) -> tuple[Standing, str]:
    if score is None or score.value is None:
        return "fail", "No score could be computed, so nothing can be said about the network."
    if floor is None or floor.value is None:
        return "warn", (
            "No shortcut floor was measured: nobody knows how much of this score needs a look at the lungs. "
            "Run the audit before using it."
        )
    kind = floor_kind(floor)
    who = FLOORS.get(kind, ("", f"a model that only uses {kind.replace('_', ' ')}"))[1]
    capital = who[0].upper() + who[1:]
    reached = figure(floor.value)
    if floor.value >= score.value:
        does = "does better" if figure(floor.value) > figure(score.value) else "does as well"
        return "fail", (f"{capital} {does} ({reached}): this score is not evidence that the network reads lungs.")
    if score.low is None or score.low <= (floor.high if floor.high is not None else floor.value):
        return "warn", (
            f"{capital} reaches {reached}, and its interval meets the network's: what the network adds may be chance."
        )
    return _meaning_above(score.value, floor.value, who, elsewhere.value if elsewhere else None)


def _meaning_above(score: float, floor: float, who: str, elsewhere: float | None) -> tuple[Standing, str]:
    added = f"The network scores {figure(score - floor)} above {who} ({figure(floor)})"
    if floor >= HIGH_FLOOR:
        return "warn", (
            f"{added}, but so high a floor means that these classes can largely be told apart by data set: "
            "only that difference can come from the lungs."
        )
    if elsewhere is not None and score - elsewhere > FALL:
        return "warn", (
            f"{added}, but falls to {figure(elsewhere)} on sources it never saw: "
            "expect that figure, not this one, on films of another hospital."
        )
    if elsewhere is None and score > TOO_GOOD:
        return "warn", f"{added}; a score this high is unverified until it holds on sources the network never saw."
    return "above", (
        f"{added}: the shortcuts probed do not explain this score. Whether the lungs do is for the audit to say."
    )


def figure(value: float | None, digits: int = 3) -> str:
    """A score with three decimals, four where three would round it to 1 or to 0.

    >>> figure(0.9312), figure(0.99987), figure(1.0), figure(None)
    ('0.931', '0.9999', '1.000', 'n/a')
    """
    if value is None:
        return "n/a"
    text = f"{value:.{digits}f}"
    rounded_away = text.lstrip("-") in (f"{1:.{digits}f}", f"{0:.{digits}f}") and value not in (0, 1)
    text = f"{value:.{digits + 1}f}" if rounded_away else text
    return text.replace("-", "\N{MINUS SIGN}")


def interval(score: Score) -> str:
    """The interval in brackets, or nothing.

    >>> interval(Score(metric="auroc", value=0.9, low=0.85, high=0.94, n=80))
    '[0.850–0.940]'
    """
    if score.low is None or score.high is None:
        return ""
    return f"[{figure(score.low)}–{figure(score.high)}]"


def score_text(score: Score) -> str:
    """Value and interval."""
    return f"{figure(score.value)} {interval(score)}".rstrip()


def signed(value: float | None) -> str:
    """A difference with its sign.

    >>> signed(0.1), signed(-0.02)
    ('+0.100', '−0.020')
    """
    if value is None:
        return "n/a"
    return f"+{figure(value)}" if value > 0 else figure(value)


def metric_name(metric: str) -> str:
    """How a metric is written for people."""
    return METRICS.get(metric, metric.replace("_", " "))


def floor_kind(floor: Score) -> str:
    """What a floor's classifier sees: `floor.header` -> `header`."""
    return floor.metric.removeprefix("floor.")


def floor_name(floor: Score) -> str:
    """How a shortcut floor is written in figures and tables."""
    kind = floor_kind(floor)
    return FLOORS.get(kind, (f"{kind.replace('_', ' ')} only", ""))[0]


def is_floor(floor: Score) -> bool:
    """Whether it is a floor itself (`floor.header`), not a part of one (`floor.header.width`)."""
    return "." not in floor_kind(floor)


def percent(value: float) -> str:
    """A share in percent, whole where that loses nothing a reader needs.

    >>> percent(0.5), percent(0.004), percent(0.999), percent(0)
    ('50 %', '0.4 %', '99.9 %', '0 %')
    """
    shown = 100 * value
    near_an_end = 0 < shown < 1 or 99 < shown < 100
    return f"{shown:.1f} %" if near_an_end else f"{shown:.0f} %"
