"""Where the audited bundle finds its evidence: in lungs, and on lesions that somebody drew.

Supporting evidence only. A map that lies in lungs can come from a network that looks at nothing else of use to anyone,
and maps of networks with weights drawn at random can look the same (Adebayo et al. 2018, arXiv:1810.03292; Arun et al.
2021, doi:10.1148/ryai.2021200267). Where they nearly do, a failure counts as a warning.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from hilum import metrics
from hilum.audit.areas import figure
from hilum.audit.check import Finding, Measured, Question, Verdict, found, skipped
from hilum.audit.frozen import unfitted_films
from hilum.audit.questions import QUESTIONS
from hilum.audit.sampling import some_films
from hilum.audit.subject import Subject
from hilum.masks import read_mask
from hilum.metrics import Floats, Ints
from hilum.preprocess import Mask

if TYPE_CHECKING:
    from hilum.explain import Explanation

MOST_FILMS = 60
CHECKED = 8
"""Films that are also explained with weights drawn again; each is a network built anew."""
FEWEST_MAPS = 10
LESIONS = ("lesions", "ggo", "consolidation", "infection")
"""Folders beside `images` that hold lesions, `masks/NAME/FILM.png`; what is in any of them is a lesion."""
KEPT = "share of the map's ranks kept under weights drawn again"


def ask_saliency_in_lungs(subject: Subject) -> Finding:
    """14: how much of the maps lies in lungs, against how much of the film does; median over films."""
    from hilum.explain.judging import HARDLY_CHANGES
    from hilum.lungs import lungs_bundle

    question = QUESTIONS["saliency-in-lungs"]
    films, which = unfitted_films(subject)
    films = some_films(films, MOST_FILMS)
    told = list(_explained(subject, films, checked=CHECKED, lungs=lungs_bundle()))
    rows = [row for row, one in enumerate(told) if one.lungs_share is not None and not one.lungs_flags]
    if len(rows) < FEWEST_MAPS:
        return skipped(question, f"{len(rows)} of {len(films)} films have a map and lungs to hold it against")
    ratios = np.array([one.lungs_share.ratio for one in (told[row] for row in rows) if one.lungs_share])
    one = _median("maps against lungs", ratios, films.iloc[rows], question, subject.resamples)
    redrawn = {part: _kept(told, part) for part in ("head", "all")}
    untrusted = any(kept is not None and kept >= HARDLY_CHANGES for kept in redrawn.values())
    says = (
        f"Lungs hold {figure(one.value, one.low, one.high)} times as much of a map as of the film ({len(rows)} {which})"
    )
    says += "; maps hardly change when weights are drawn again, and prove little." if untrusted else "."
    details = {"ratios": ratios.tolist(), KEPT: redrawn, "which": which, "examples": _worst(told, rows, ratios, films)}
    details |= {"films": len(films), "maps": len(rows), "method": told[rows[0]].method}
    return found(question, [one], says, at_most=Verdict.WARN if untrusted else Verdict.FAIL, details=details)


def ask_saliency_on_lesions(subject: Subject) -> Finding:
    """15: the same against lesions, and how often a map's highest point is in one (the pointing game)."""
    question = QUESTIONS["saliency-on-lesions"]
    films, which = unfitted_films(subject)
    drawn = [_lesion_files(subject.root / path) != [] for path in films["path"]]
    if sum(drawn) < FEWEST_MAPS:
        return skipped(question, f"lesions are drawn on {sum(drawn)} of the {len(films)} {which}")
    films = some_films(films[drawn].reset_index(drop=True), MOST_FILMS)
    told = list(_explained(subject, films, checked=0, lesions=True))
    rows = [row for row, one in enumerate(told) if one.lesions_share is not None]
    if len(rows) < FEWEST_MAPS:
        return skipped(question, f"{len(rows)} of {len(films)} films have a map and a lesion to hold it against")
    shares = [told[row].lesions_share for row in rows]
    ratios = np.array([share.ratio for share in shares if share])
    one = _median("maps against lesions", ratios, films.iloc[rows], question, subject.resamples)
    pointed = float(np.mean([bool(told[row].points_at_lesion) for row in rows]))
    area = float(np.mean([share.area for share in shares if share]))
    says = (
        f"Lesions hold {figure(one.value, one.low, one.high)} times as much of a map as of the film, and the highest "
        f"point of {pointed:.0%}, {area:.0%} by chance ({len(rows)} {which})."
    )
    details = {"ratios": ratios.tolist(), "pointing": pointed, "pointing by chance": area, "which": which}
    details |= {"maps": len(rows), "films": len(films), "examples": _worst(told, rows, ratios, films)}
    return found(question, [one], says, details=details)


def _explained(subject: Subject, films: pd.DataFrame, *, checked: int, **told: Any) -> "Iterator[Explanation]":
    """One explanation a film, of the label decided on.

    Raises:
        UsageError: maps of the bundle cannot be laid on films.
    """
    from hilum.bundle import load_bundle
    from hilum.explain import How, explain_films

    folder = subject.bundle_folder or subject.root
    paths = [subject.root / path for path in films["path"]]
    if told.pop("lesions", False):
        told["lesions"] = lesions_beside
    with subject.watch("explain films") as progress:
        for done, one in enumerate(explain_films(load_bundle(folder), paths, how=How(checked=checked), **told), 1):
            yield one.without_pixels()
            progress(done, len(paths))


def lesions_beside(film: Path, size: tuple[int, int]) -> Mask | None:
    """(height, width) True in a lesion, of masks that lie as in the pack layout; None where there is none of the film.

    Raises:
        DataError: a mask is not of the film's size, or is none.
    """
    masks = [read_mask(file, size, may_be_empty=True) for file in _lesion_files(film)]
    return np.logical_or.reduce(masks) if masks else None


def _lesion_files(film: Path) -> list[Path]:
    places = (film.parent.parent / "masks" / name / f"{film.stem}.png" for name in LESIONS)
    return [file for file in places if file.is_file()]


def _median(of: str, ratios: Floats, films: pd.DataFrame, question: Question, resamples: int) -> Measured:
    """Median over films, its interval over groups, and the p of the sign test against the limit of the warning."""
    group = pd.factorize(films["group_id"])[0].astype(np.int64)
    counts = metrics.resampled_groups(int(group.max()) + 1, resamples)
    replicates = np.array([np.median(np.repeat(ratios, count[group])) for count in counts])
    value = float(np.median(ratios))
    low, high = metrics.interval(replicates, value) or (None, None)
    p = _sign_p(ratios, group, question.warn or 1.0)
    return Measured(of=of, value=value, low=low, high=high, p=p, n=len(ratios), groups=len(counts[0]))


def _sign_p(ratios: Floats, group: Ints, limit: float) -> float:
    """How often so many groups would lie below the limit if it were their median."""
    means = np.bincount(group, weights=ratios) / np.bincount(group)
    return float(binom.sf(int((means < limit).sum()) - 1, len(means), 0.5))


def _kept(told: "Sequence[Explanation]", part: str) -> float | None:
    kept = [one.redrawn[part] for one in told if part in one.redrawn]
    return float(np.median(kept)) if kept else None


def _worst(
    told: "Sequence[Explanation]", rows: Sequence[int], ratios: Floats, films: pd.DataFrame, most: int = 8
) -> list[dict[str, Any]]:
    """The films whose maps lie elsewhere most."""
    worst = np.argsort(ratios, kind="stable")[:most].tolist()
    ids = films["image_id"].to_numpy()
    return [
        {"image_id": str(ids[rows[place]]), "label": told[rows[place]].label, "ratio": float(ratios[place])}
        for place in worst
    ]
