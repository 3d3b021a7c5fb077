"""Cohorts with a known answer: simulated films in which the label goes with disease, with one planted mark, or neither.

Taking a film costs more than auditing it. So each film of a stock is taken once, with its disease and without, and both
are kept with every mark and with none. Labels are then dealt to patients by lot: a film is shown with its disease where
its label says so, and with the mark where the plant says so. Any number of cohorts comes out of one stock, and in all
of them nothing but disease and mark knows the label.

A plant of strength s marks a share s of the positive films and no other. Views and sources exist already and are chosen
instead: (1 + s) / 2 of the positive films have the trait and (1 - s) / 2 of the others. Either way the mark alone has
an AUROC of (1 + s) / 2, as that of `hilum simulate --plant` at a strength of (1 + s) / 2.

The shuffled control of a planted cohort is the same cohort with its labels dealt to its patients once more. Where
disease is to be told in control and plant alike, the marks are dealt instead: the scattered control has the same films
with the same disease, and the marks on as many films, whatever their label.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.audit.given import SMALL
from hilum.audit.subject import Subject
from hilum.cache import FrameCache
from hilum.checks import Facts, check_film
from hilum.errors import DataError, UsageError, unknown_name
from hilum.files import written_aside
from hilum.index import Index, complete, describe_records
from hilum.metrics import Bools, Ints
from hilum.parallel import Crashed, Watch, in_order, unwatched
from hilum.records import COVID19, NORMAL, Radiograph, View
from hilum.selection import TARGET
from hilum.simulate.cohort import CohortSpec, simulate_cohort
from hilum.simulate.shortcuts import leave_marks

MARKS = ("marker", "frame", "curve", "compression")
"""Plants of `hilum.simulate.shortcuts` that are drawn on finished pictures."""
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "marker": "a lead letter in a corner",
        "frame": "a border of unexposed film",
        "curve": "another hospital's display curve",
        "compression": "low resolution and strong compression",
        "view": "taken AP, the others PA",
        "source": "from one hospital, the others from another",
    }
)
CLASSES = (COVID19, NORMAL)
HOSPITALS = {"site0": "hospital a", "site1": "hospital a", "site2": "hospital b", "site3": "hospital b"}
FILMS_PER_PATIENT = 1.6
CHOICE = 0.4
"""Share of a stock that is left to choose from where a view or a source must equal the label."""

_LOOKS = tuple((ill, mark) for ill in (True, False) for mark in ("", *MARKS))
"""Every way that a film is kept in, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """What is planted into a cohort; `kind` None plants nothing."""

    kind: str | None = None
    strength: float = 1.0
    shuffled: bool = False
    scattered: bool = False
    """A mark lies on as many films, but by lot."""
    disease: bool = True
    """False: not even disease knows the label."""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise unknown_name("plant", self.kind, KINDS)
        if not 0 <= self.strength <= 1:
            raise UsageError(f"the strength of a planted {self.kind} is {self.strength}; give 0 (none) to 1 (always)")
        if self.scattered and self.kind not in MARKS:
            raise UsageError(f"a {self.kind} is no mark that could be scattered; name one of {', '.join(MARKS)}")


@dataclass(frozen=True)
class Stock:
    """Films taken once, each in every look.

    Attributes:
        root: folder of the pictures.
        taken: a row a film: patient_id, view, sex, age, site, manufacturer, licence.
        paths: of every picture, film by film, each in all looks.
        facts: of the same.
        thumbnails: (P, 32, 32) of the same.
    """

    root: Path
    taken: pd.DataFrame
    paths: tuple[str, ...]
    facts: tuple[Facts, ...]
    thumbnails: NDArray[np.uint8]

    def picture(self, film: int, *, ill: bool, mark: str) -> int:
        """Number of a film's picture in one look."""
        return film * len(_LOOKS) + _LOOKS.index((ill, mark))


def make_stock(
    folder: Path, *, films: int, seed: int = 0, processes: int | None = None, watch: Watch = unwatched
) -> Stock:
    """Simulate the films and keep each in every look; films already simulated there are kept.

    Raises:
        UsageError: the folder holds another cohort.
        MissingExtra: the package that carries the CT is not installed.
    """
    spec = CohortSpec(
        films=films, seed=seed, labels=(COVID19,), counterfactuals=True, films_per_patient=FILMS_PER_PATIENT
    )
    with watch("simulate films") as progress:
        simulated = simulate_cohort(spec, folder, processes=processes, progress=progress)
    return stock_of(simulated, seed=seed, processes=processes, watch=watch)


def stock_of(simulated: Path, *, seed: int = 0, processes: int | None = None, watch: Watch = unwatched) -> Stock:
    """The stock of a simulated cohort with one label, two views, four sites and counterfactuals.

    Raises:
        DataError: a film is gone or its decoder died.
    """
    root = simulated.parent
    with (simulated / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    work = partial(_developed, root=root, seed=seed)
    facts: list[Facts] = []
    with watch("leave marks") as progress:
        for done, (_, made) in enumerate(in_order(work, list(enumerate(rows)), processes=processes), 1):
            if isinstance(made, Crashed):
                raise DataError("the process that marks films died; run the same command again")
            facts += made
            progress(done, len(rows))
    paths = tuple(_path(film, *look) for film in range(len(rows)) for look in _LOOKS)
    table = pd.DataFrame({"path": paths, "sha256": [fact.sha256 for fact in facts], "lung_mask": pd.NA})
    frames = FrameCache(SMALL, root / "frames")
    with watch("shrink films") as progress:
        frames.fill(table, root, processes=processes, progress=progress)
    return Stock(root, pd.DataFrame(rows), paths, tuple(facts), np.asarray(frames.view(table, root)[:], np.uint8))


def _path(film: int, ill: bool, mark: str) -> str:
    return f"looks/{film:05d}-{'ill' if ill else 'well'}{'-' if mark else ''}{mark}.png"


def _developed(item: tuple[int, Mapping[str, str]], *, root: Path, seed: int) -> list[Facts]:
    """Write one film in every look, where it is not there yet; the facts of each."""
    film, row = item
    paths = [root / _path(film, *look) for look in _LOOKS]
    if not all(path.is_file() for path in paths):
        shown = {True: _grey(root / row["file"]), False: _grey(root / (row["counterfactual"] or row["file"]))}
        for path, (ill, mark) in zip(paths, _LOOKS, strict=True):
            picture = leave_marks(shown[ill], (mark,), np.random.default_rng([seed, 8, film]))
            stream = cv2.imencode(".png", np.rint(picture * 255).clip(0, 255).astype(np.uint8))[1]
            with written_aside(path) as aside:
                aside.write_bytes(stream.tobytes())
    return [check_film(path) for path in paths]


def _grey(path: Path) -> NDArray[np.float32]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if picture is None:
        raise DataError(f"the simulated film {path.name} is gone; simulate again")
    return np.asarray(picture, np.float32) / np.float32(255)


def draw_cohort(stock: Stock, plant: Plant, *, seed: int, films: int | None = None) -> Subject:
    """A cohort of the stock, as the subject of an audit; its model guesses.

    Args:
        stock: films in every look.
        plant: what knows the label.
        seed: of the lots.
        films: how many, half of them positive; by default all, or `CHOICE` of them where films are chosen by a trait.
    """
    rng = np.random.default_rng(seed)
    owner = pd.factorize(stock.taken["patient_id"])[0].astype(np.int64)
    positive = _dealt(owner, rng)
    trait = _trait(stock, plant.kind)
    most = films or round(len(owner) * (1.0 if trait is None else CHOICE))
    rows = _chosen(positive, trait, plant.strength, most, rng)
    marked = np.zeros(len(rows), bool)
    if plant.kind in MARKS:
        ours = np.flatnonzero(positive[rows])
        among = np.arange(len(rows)) if plant.scattered else ours
        marked[rng.permutation(among)[: round(plant.strength * len(ours))]] = True
    label = _dealt(owner[rows], rng) if plant.shuffled else positive[rows]
    mark = plant.kind if plant.kind in MARKS else None
    looks = [
        stock.picture(int(film), ill=bool(plant.disease and ill), mark=mark if mark and has else "")
        for film, ill, has in zip(rows, label, marked, strict=True)
    ]
    return _subject(stock, rows, looks, label, rng)


def _dealt(owner: Ints, rng: np.random.Generator) -> Bools:
    """Half of the patients, by lot, are positive with all their films."""
    patients, place = np.unique(owner, return_inverse=True)
    chosen: Bools = rng.permutation(len(patients)) < len(patients) / 2
    return np.asarray(chosen[place], bool)


def _trait(stock: Stock, kind: str | None) -> Bools | None:
    """Which films are AP, or of the first hospital; None where the mark is drawn."""
    if kind == "view":
        return np.asarray(stock.taken["view"] == View.AP, bool)
    if kind == "source":
        return np.asarray(stock.taken["site"].map(HOSPITALS) == "hospital a", bool)
    return None


def _chosen(positive: Bools, trait: Bools | None, strength: float, films: int, rng: np.random.Generator) -> Ints:
    """Rows of a cohort: as many positive films as others, with the trait as often as the strength asks."""
    half, order = films // 2, rng.permutation(len(positive))
    parts = []
    for label in (True, False):
        theirs = order[positive[order] == label]
        if trait is None:
            parts.append(theirs[:half])
            continue
        most = round(half * (1 + strength) / 2)
        with_it, without = (theirs[trait[theirs] == wanted] for wanted in (label, not label))
        parts += [with_it[:most], without[: half - most]]
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _subject(stock: Stock, rows: Ints, looks: list[int], label: Bools, rng: np.random.Generator) -> Subject:
    table = complete(
        describe_records(
            [
                _record(stock, stock.taken.iloc[film], f"film-{film:05d}", stock.paths[look], ill=bool(ill))
                for film, look, ill in zip(rows, looks, label, strict=True)
            ],
            stock.root,
        ),
        [stock.facts[look] for look in looks],
    )
    small = dict(zip(table["image_id"], looks, strict=True))
    index = Index(table, stock.root)
    films = index.films
    films = films.assign(**{TARGET: np.where(films[f"label.{COVID19}"], *CLASSES)}).astype({TARGET: "string"})
    guess = rng.random(len(films))
    told = pd.DataFrame({"image_id": films["image_id"], "repeat": 0, "fold": "test", "reference": films[TARGET]})
    return Subject(
        title="simulated films",
        kind="scores",
        classes=CLASSES,
        films=films,
        root=stock.root,
        index_digest=index.digest,
        predictions=told.assign(**{f"p.{COVID19}": guess, f"p.{NORMAL}": 1 - guess}),
        look=lambda subject: stock.thumbnails[[small[one] for one in subject.films["image_id"]]],
    )


def _record(stock: Stock, row: "pd.Series[str]", image_id: str, path: str, *, ill: bool) -> Radiograph:
    return Radiograph(
        image_id=image_id,
        source=HOSPITALS[row["site"]],
        path=stock.root / path,
        labels={COVID19: ill, NORMAL: not ill},
        patient_id=row["patient_id"],
        view=View(row["view"]),
        sex="F" if row["sex"] == "F" else "M",
        age_years=float(row["age"]),
        manufacturer=row["manufacturer"],
        licence=row["licence"],
    )
