"""Whole data sets of simulated films: who gets which label, site, view and mark, and writing it all down.

Labels are balanced; site, view, sex and age are drawn without regard to them. (Balancing those within every label would
make held-out films differ from training films on purpose, and push models that guess by them below chance.)
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy import special

from hilum.errors import DataError, UsageError, unknown_name
from hilum.files import digest_of, write_json
from hilum.parallel import Crashed, spread
from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA, View
from hilum.simulate import store
from hilum.simulate.film import FilmPlan
from hilum.simulate.lesions import DISEASES
from hilum.simulate.shortcuts import PLANTS, Plant, marked
from hilum.simulate.sites import draw_sites
from hilum.simulate.volume import load_ct, prepared_folder

SIMULATOR = 1
"""Raise when the same specification would give other films."""

VIEWS = (View.PA, View.AP, View.LATERAL)


@dataclass(frozen=True, kw_only=True)
class CohortSpec:
    """What to simulate. The same specification gives the same bytes, whatever the number of processes.

    Raises:
        UsageError: a value is out of range, a name is unknown, or two plants exclude each other.
    """

    films: int
    seed: int = 0
    size_px: int = 320
    """Longest side of every film."""
    views: tuple[View, ...] = (View.PA, View.AP)
    labels: tuple[str, ...] = (NORMAL, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA, COVID19)
    sites: int = 4
    plants: tuple[Plant, ...] = ()
    films_per_patient: float = 1.2
    format: store.Format = "png"
    counterfactuals: bool = False
    """Also write every diseased film without its disease."""
    lesions: bool = True
    """False: the control cohort, the same films with their labels but without disease."""
    severity: tuple[float, float] = (4.0, 2.0)
    """The two parameters of the beta distribution severity is drawn from; (2, 2.2) is harder."""
    near_duplicates: float = 0.0
    """Share of the films that appear a second time, cropped and exported again."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_names(self)
        _check_plants(self)

    def as_json(self) -> dict[str, Any]:
        return {"simulator": SIMULATOR, **asdict(self)}


def _check_numbers(spec: CohortSpec) -> None:
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("films", spec.films, 1, 1_000_000),
        ("seed", spec.seed, 0, 2**32 - 1),
        ("size_px", spec.size_px, 64, 2048),
        ("sites", spec.sites, 1, 100),
        ("films_per_patient", spec.films_per_patient, 1, 20),
        ("near_duplicates", spec.near_duplicates, 0, 1),
        ("severity", min(spec.severity), 0.01, 1000),
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise UsageError(f"{name} is {value}; give a value from {least:g} to {most:g}")


def _check_names(spec: CohortSpec) -> None:
    for kind, names, known in (("label", spec.labels, DISEASES), ("view", spec.views, VIEWS)):
        for name in names:
            if name not in known:
                raise unknown_name(kind, str(name), map(str, known))
        if not names or len(set(names)) != len(names):
            raise UsageError(f"give every {kind} once and at least one; got: {', '.join(names) or 'none'}")
    if spec.format not in get_args(store.Format):
        raise unknown_name("format", spec.format, get_args(store.Format))


def _check_plants(spec: CohortSpec) -> None:
    kinds = [plant.kind for plant in spec.plants]
    for plant in spec.plants:
        if plant.label not in spec.labels:
            raise unknown_name(f"label in plant '{plant}'", plant.label, spec.labels)
        if kinds.count(plant.kind) > 1:
            raise UsageError(f"plant '{plant.kind}' is given twice; plant each kind once")
        if len(spec.labels) < 2:
            raise UsageError(f"plant '{plant}' needs a second label to differ from; give at least two labels")
    if "view" in kinds and set(spec.views) != {View.PA, View.AP}:
        raise UsageError("plant 'view' marks by AP against PA; simulate exactly these two views")
    if "site" in kinds and spec.sites < 2:
        raise UsageError("plant 'site' needs at least two sites")


def plan_cohort(spec: CohortSpec) -> list[store.Job]:
    """Every film of the cohort, before any is taken."""
    rng = np.random.default_rng([spec.seed, 0])
    # In random order: neither the number of a film nor that of a patient says anything about the label.
    labels = [spec.labels[i % len(spec.labels)] for i in rng.permutation(spec.films)]
    owners = _patients(spec, labels, rng)
    of_patient = dict(zip(owners, labels, strict=True))
    patients = sorted(of_patient)
    people = _people(spec, [of_patient[patient] for patient in patients], rng)
    views = [spec.views[i] for i in rng.integers(0, len(spec.views), spec.films)]
    marks = {p.kind: marked(p, labels, rng) for p in spec.plants if PLANTS[p.kind].of == "film"}
    if "view" in marks:
        views = [View.AP if flag else View.PA for flag in marks["view"]]
    twice = rng.permutation(spec.films) < round(spec.near_duplicates * spec.films)
    sites = draw_sites(spec.sites, np.random.default_rng([spec.seed, 5]))
    days = rng.integers(0, 365, spec.films)
    jobs = []
    for film, (label, owner) in enumerate(zip(labels, owners, strict=True)):
        person = people[owner]
        flags = {kind: bool(chosen[film]) for kind, chosen in marks.items()} | person.marks
        plan = FilmPlan(
            seed=spec.seed, film=film, patient=owner, label=label, severity=person.severity, view=views[film],
            sex=person.sex, age_years=person.age_years, site=sites[person.site], size_px=spec.size_px,
            lesions=spec.lesions, underexposed=flags.get("exposure", False),
        )  # fmt: skip
        date = np.datetime64(f"{plan.site.year}-01-01") + days[film]
        image_id = f"simulated__s{spec.seed}-p{owner:05d}-f{film:05d}"
        jobs.append(
            store.Job(plan=plan, image_id=image_id, acquired=str(date), marks=flags, duplicated=bool(twice[film]))
        )
    return jobs


def _patients(spec: CohortSpec, labels: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Patient of each film: every patient has one label and at least one film."""
    array = np.asarray(labels)
    owners = np.zeros(len(array), int)
    first = 0
    for label in spec.labels:
        films = rng.permutation(np.flatnonzero(array == label))
        if not len(films):
            continue
        count = max(1, round(len(films) / spec.films_per_patient))
        owners[films[:count]] = first + np.arange(count)
        owners[films[count:]] = first + rng.integers(0, count, len(films) - count)
        first += count
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners.tolist()))}
    return [numbers[owner] for owner in owners.tolist()]


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a patient brings to every film."""

    sex: Literal["F", "M"]
    age_years: int
    site: int
    severity: float
    marks: dict[str, bool]


def _people(spec: CohortSpec, labels: Sequence[str], rng: np.random.Generator) -> list[Person]:
    """One person for each patient's label, in the patients' order."""
    sexes: tuple[Literal["F", "M"], ...] = ("F", "M")
    count = len(labels)
    sex, site, rank = rng.integers(0, 2, count), rng.integers(0, spec.sites, count), rng.random(count)
    severity = rng.beta(*spec.severity, count)
    marks = {p.kind: marked(p, labels, rng) for p in spec.plants if PLANTS[p.kind].of == "patient"}
    people = []
    for i in range(count):
        flags = {kind: bool(chosen[i]) for kind, chosen in marks.items()}
        person = Person(
            sex=sexes[sex[i]], age_years=_age(rank[i]), site=int(site[i]), severity=float(severity[i]), marks=flags
        )
        if "sex" in flags:
            person = replace(person, sex="M" if flags["sex"] else "F")
        if "age" in flags:
            person = replace(person, age_years=_age(rank[i], flags["age"]))
        if "site" in flags:
            person = replace(person, site=0 if flags["site"] else 1 + int(site[i]) % (spec.sites - 1))
        people.append(person)
    return people


YOUNGEST, OLDEST, MEAN_AGE, AGE_SPREAD, OLD = 18, 92, 54.0, 17.0, 60


def _age(rank: float, old: bool | None = None) -> int:
    """Age in years at a rank in (0, 1) of adults; of those of 60 and older, or younger, where asked."""
    youngest = OLD if old else YOUNGEST
    oldest = OLD if old is False else OLDEST
    least, most = (float(special.ndtr((years - MEAN_AGE) / AGE_SPREAD)) for years in (youngest, oldest))
    return int(MEAN_AGE + AGE_SPREAD * float(special.ndtri(least + rank * (most - least))))


def simulate_cohort(
    spec: CohortSpec,
    out: Path,
    *,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the cohort's films and their truth into `out/simulated`, keeping films already complete.

    With more than one process, a script that calls this needs the usual `if __name__ == "__main__":`.

    Args:
        spec: what to simulate.
        out: the root that paths in `index.csv` are relative to; the films go into its folder `simulated`.
        processes: how many films to take at once; one a core by default.
        progress: called with (films done, films in all) after every film.

    Returns:
        The folder written.

    Raises:
        UsageError: the folder holds another cohort.
        MissingExtra: the package that carries the CT is not installed.
    """
    diseased = tuple(label for label in spec.labels if label != NORMAL)
    target = store.Target(
        folder=out / store.DATASET,
        ct=prepared_folder(),
        format=spec.format,
        counterfactuals=spec.counterfactuals,
        classes=diseased,
    )
    load_ct(target.ct)
    _claim(target.folder, spec)
    jobs = plan_cohort(spec)
    _take_missing(jobs, target, processes, progress or (lambda _done, _all: None))
    store.write_tables(target, [job.image_id for job in jobs])
    return target.folder


def _take_missing(
    jobs: Sequence[store.Job], target: store.Target, processes: int | None, progress: Callable[[int, int], None]
) -> None:
    waiting = [job for job in jobs if not store.is_complete(target.folder, job.image_id)]
    done = len(jobs) - len(waiting)
    progress(done, len(jobs))
    take = partial(store.take_film_of, target=target)
    # Starting processes costs more than taking a few films.
    for job, result in spread(take, waiting, processes=1 if len(waiting) < 4 else processes):
        if isinstance(result, Crashed):
            raise DataError(f"the process taking film {job.image_id} died; run the same command again to go on")
        done += 1
        progress(done, len(jobs))


def _claim(folder: Path, spec: CohortSpec) -> None:
    """Note the specification in the folder, or check that it is the one noted there."""
    digest = digest_of(spec.as_json())
    there = store.read_claim(folder)
    if there is not None and there != digest:
        raise UsageError(f"{folder} holds another cohort; choose another folder or delete it")
    if there is None:
        write_json(folder / store.CLAIM, {"digest": digest, "spec": spec.as_json()})
