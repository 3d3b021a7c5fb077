"""Where the audited bundle finds its evidence: in lungs, and on lesions that somebody drew.

Supporting evidence only. A map that lies in lungs can come from a network that looks at nothing else of use to anyone,
and maps of networks with weights drawn at random can look the same (Adebayo et al. 2018, arXiv:1810.03292; Arun et al.
2021, doi:10.1148/ryai.2021200267). Where they nearly do, a failure counts as a warning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    from hilum.explain import Explanation, Share
    from hilum.explain.pictures import Tile

    _Told = tuple[Explanation, Tile | None]

MOST_FILMS = 60
CHECKED = 8
"""Films that are also explained with weights drawn again; each is a network built anew."""
FEWEST_MAPS = 10
SHOWN = 6
"""Films on a sheet of the worst maps, and on one of ordinary ones."""
LESIONS = ("lesions", "ggo", "consolidation", "infection")
"""Folders beside `images` that hold lesions, `masks/NAME/FILM.png`; what is in any of them is a lesion."""
KEPT = "share of the map's ranks kept under weights drawn again"


@dataclass(frozen=True)
class _Held:
    """Maps of films that could be held against something, and how they did.

    Attributes:
        films: index rows.
        told: their explanations, without pixels.
        shares: how much of each map lies where it should.
        tiles: pictures of the films and their maps; None where no pictures are wanted.
        asked: films that were explained, held or not.
    """

    films: pd.DataFrame
    told: "Sequence[Explanation]"
    shares: "Sequence[Share]"
    tiles: "Sequence[Tile | None]"
    asked: int

    @property
    def ratios(self) -> Floats:
        """As limits take them."""
        return np.array([share.film_ratio for share in self.shares])

    def median(self, part: str) -> float:
        """Of a part of the shares."""
        return float(np.median([getattr(share, part) for share in self.shares]))

    def against(self, what: str, one: Measured) -> str:
        """`Lungs hold 1.62 [1.40, 1.81] times as much of a map as of the film`."""
        ratio = figure(one.value, one.low, one.high)
        if all(share.film_area is None for share in self.shares):
            return f"{what} hold {ratio} times as much of a map as of the film"
        return (
            f"{what} hold {self.median('ratio'):.3f} times as much of a map as of the part of the film that the model "
            f"sees, {self.median('area'):.0%} of which they are; on whole films that would be {ratio} times"
        )


def ask_saliency_in_lungs(subject: Subject) -> Finding:
    """14: how much of the maps lies in lungs, against how much of what the network saw does; median over films."""
    from hilum.explain.judging import HARDLY_CHANGES
    from hilum.lungs import lungs_bundle

    question = QUESTIONS["saliency-in-lungs"]
    films, which = unfitted_films(subject)
    films = some_films(films, MOST_FILMS)
    told = list(_explained(subject, films, checked=CHECKED, lungs=lungs_bundle()))
    held = _held(films, told, [None if one.lungs_flags else one.lungs_share for one, _ in told])
    if len(held.shares) < FEWEST_MAPS:
        return skipped(question, f"{len(held.shares)} of {len(films)} films have a map and lungs to hold it against")
    one = _median("maps against lungs", held, question, subject.resamples)
    redrawn = {part: _kept([one for one, _ in told], part) for part in ("head", "all")}
    untrusted = any(kept is not None and kept >= HARDLY_CHANGES for kept in redrawn.values())
    says = f"{held.against('Lungs', one)} ({len(held.shares)} {which})"
    says += "; maps hardly change when weights are drawn again, and prove little." if untrusted else "."
    details = _details(held) | {KEPT: redrawn, "which": which, "method": held.told[0].method}
    at_most = Verdict.WARN if untrusted else Verdict.FAIL
    return found(
        question, [one], says, at_most=at_most, details=details, pictures=_pictures(subject, question, held, "lungs")
    )


def ask_saliency_on_lesions(subject: Subject) -> Finding:
    """15: the same against lesions, and how often a map's highest point is in one (the pointing game)."""
    question = QUESTIONS["saliency-on-lesions"]
    films, which = unfitted_films(subject)
    drawn = [_lesion_files(subject.root / path) != [] for path in films["path"]]
    if sum(drawn) < FEWEST_MAPS:
        return skipped(question, f"lesions are drawn on {sum(drawn)} of the {len(films)} {which}")
    films = some_films(films[drawn].reset_index(drop=True), MOST_FILMS)
    told = list(_explained(subject, films, checked=0, lesions=lesions_beside))
    held = _held(films, told, [one.lesions_share for one, _ in told])
    if len(held.shares) < FEWEST_MAPS:
        return skipped(question, f"{len(held.shares)} of {len(films)} films have a map and a lesion to hold it against")
    one = _median("maps against lesions", held, question, subject.resamples)
    pointed = float(np.mean([bool(one.points_at_lesion) for one in held.told]))
    area = float(np.mean([share.area for share in held.shares]))
    says = (
        f"{held.against('Lesions', one)}; they hold the highest point of {pointed:.0%}, {area:.0%} by chance "
        f"({len(held.shares)} {which})."
    )
    details = _details(held) | {"pointing": pointed, "pointing by chance": area, "which": which}
    return found(question, [one], says, details=details, pictures=_pictures(subject, question, held, "lesions"))


def _held(films: pd.DataFrame, told: "Sequence[_Told]", shares: "Sequence[Share | None]") -> _Held:
    """Those of the films that have a share."""
    rows = [row for row, share in enumerate(shares) if share is not None]
    return _Held(
        films=films.iloc[rows],
        told=[told[row][0] for row in rows],
        shares=[share for share in shares if share is not None],
        tiles=[told[row][1] for row in rows],
        asked=len(films),
    )


def _explained(subject: Subject, films: pd.DataFrame, *, checked: int, **how: Any) -> "Iterator[_Told]":
    """One explanation a film, of the label decided on, without pixels, and a picture where there is a folder for it.

    Raises:
        UsageError: the bundle needs other lungs than those at hand.
    """
    from hilum.bundle import load_bundle
    from hilum.explain import How, explain_films

    folder = subject.bundle_folder or subject.root
    paths = [subject.root / path for path in films["path"]]
    bundle, masks = load_bundle(folder), _masks(films, subject.root)
    told = explain_films(bundle, paths, how=How(checked=checked), masks=masks, processes=subject.processes, **how)
    with subject.watch("explain films") as progress:
        for done, (one, name) in enumerate(zip(told, films["image_id"], strict=True), 1):
            yield one.without_pixels(), _tile(one, str(name)) if subject.out else None
            progress(done, len(paths))


def _masks(films: pd.DataFrame, root: Path) -> dict[Path, Path]:
    """Film -> lung mask, where the index names one."""
    if "lung_mask" not in films:
        return {}
    pairs = zip(films["path"], films["lung_mask"], strict=True)
    return {root / film: root / mask for film, mask in pairs if not pd.isna(mask)}


def _tile(one: "Explanation", name: str) -> "Tile | None":
    """A film beside its map, small."""
    from hilum.explain.pictures import panels, share_words, tile_of

    if one.map is None:
        return None
    lines = [name, f"{one.label}: p = {one.probability or 0:.2f}"]
    shares = {"lungs": one.lungs_share, "lesions": one.lesions_share}
    lines += [f"{what}: {share_words(share)}" for what, share in shares.items() if share]
    return tile_of(one, panels(one), lines)


def _pictures(subject: Subject, question: Question, held: _Held, where: str) -> list[str]:
    """Sheets of the films whose maps lie elsewhere most, and of ordinary ones; names of the files written."""
    from hilum.explain.pictures import sheet_of, write_picture

    if subject.out is None:
        return []
    order = np.argsort(held.ratios, kind="stable")
    middle = max(0, len(order) // 2 - SHOWN // 2)
    sheets = (
        ("worst", f"Maps that lie least in {where}", order[:SHOWN]),
        ("ordinary", f"Maps that lie in {where} as most do", order[middle : middle + SHOWN]),
    )
    note = f"Left the film, right what raises the label; blue lungs, green lesions. {len(order)} films in all."
    names = []
    for name, title, rows in sheets:
        tiles = [tile for tile in (held.tiles[row] for row in rows.tolist()) if tile]
        names.append(f"{question.name}-{name}.png")
        write_picture(sheet_of(title, tiles, note), subject.out / names[-1])
    return names


def _details(held: _Held) -> dict[str, Any]:
    """What both checks keep."""
    details = {
        "ratios": held.ratios.tolist(),
        "films": held.asked,
        "maps": len(held.shares),
        "examples": _worst(held),
    }
    if any(share.film_area is not None for share in held.shares):
        details["of the part seen"] = {part: held.median(part) for part in ("energy", "area", "ratio")}
    return details


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


def _median(of: str, held: _Held, question: Question, resamples: int) -> Measured:
    """Median over films, its interval over groups, and the p of the sign test against the limit of the warning."""
    ratios, group = held.ratios, pd.factorize(held.films["group_id"])[0].astype(np.int64)
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


def _worst(held: _Held, most: int = 8) -> list[dict[str, Any]]:
    """The films whose maps lie elsewhere most."""
    ratios, ids = held.ratios, held.films["image_id"].to_numpy()
    worst = np.argsort(ratios, kind="stable")[:most].tolist()
    return [{"image_id": str(ids[row]), "label": held.told[row].label, "ratio": float(ratios[row])} for row in worst]
