"""The sections of a card, each from what a bundle carries and nothing else."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hilum.bundle.format import MANIFEST, OpenManifest
from hilum.bundle.notes import Failure, Notes
from hilum.card.asked import ASKED, MORE
from hilum.card.content import BLANK, Fact, Measured, Section, elsewhere
from hilum.files import canonical_json
from hilum.report.tables import Grid, of_provenance
from hilum.report.wording import figure, metric_name, percent

DOES = {
    "classifier": "a classifier: gives a film a calibrated probability for each class",
    "segmenter": "a segmenter: draws a mask of each label on a film",
    "detector": "a detector: draws boxes around what it finds on a film",
}
KNOWN = (
    "classes",
    "labels",
    "temperature",
    "operating_points",
    "evaluation",
    "threshold",
    "stored",
    "agreement",
    "figures",
    "plausible",
)
"""Keys of the kinds that have their own place; a kind's others are told as they are."""
RECIPE = (
    ("Network", ("network", "network.backbone")),
    ("Encoder", ("encoder",)),
    ("Starting weights", ("weights", "network.weights")),
    ("Trained layers", ("network.train_from",)),
    ("Loss", ("loss",)),
    ("Optimiser", ("schedule.optimiser",)),
    ("Epochs, at most", ("schedule.epochs",)),
    ("Films a step", ("schedule.batch_films",)),
    ("Learning rate", ("schedule.learning_rate",)),
    ("Seed", ("split.seeds", "schedule.seed")),
)
"""What is told of a recipe -> where kinds of recipes keep it; what a recipe has no key for is left out."""
ASPECTS = {"stretch": "stretched to a square", "pad": "padded to a square"}


def what_it_is(manifest: OpenManifest, extra: Mapping[str, Any], notes: Notes) -> Section:
    """Kind, labels, and what comes out."""
    does = DOES.get(manifest.kind, manifest.kind)
    labels = [str(label) for label in extra.get("labels") or extra.get("classes") or ()]
    rows = tuple((label, notes.labels.get(label, BLANK)) for label in labels)
    facts = [Fact(name="Kind", told=does[0].upper() + does[1:])]
    facts += [Fact(name="Decides", told=said) for said in _decides(extra)]
    facts += [
        Fact(name=_spoken(key), told=_plain(value)) for key, value in extra.items() if key not in KNOWN and value != []
    ]
    facts += [Fact(name="Digest", told=manifest.digest), Fact(name="Bundle format", told=str(manifest.format))]
    name = "class" if "classes" in extra else "label"
    return Section(
        key="what",
        title="What it is",
        facts=tuple(facts),
        grids=(Grid(caption=f"Meaning of each {name}", head=(name, "meaning"), rows=rows, texts=2),) if rows else (),
        cells=tuple(f"meaning of {label}" for label, meaning in rows if meaning == BLANK),
    )


def _decides(extra: Mapping[str, Any]) -> Iterable[str]:
    if isinstance(extra.get("threshold"), int | float):
        yield f"inside from a probability of {figure(extra['threshold'])} on"
    classes: Sequence[str] = extra.get("classes") or ()
    if len(classes) == 2 and any(point.get("name") == "youden" for point in extra.get("operating_points") or ()):
        yield f"for {classes[0]} from its threshold (youden) on, else for {classes[1]}"
    elif classes:
        yield "for the class with the highest probability"


def use(manifest: OpenManifest, notes: Notes) -> Section:
    """What it is for, and what it must not be used for."""
    research = [one.source for one in notes.data if one.research_use]
    facts = [
        Fact(name="Intended use", told=manifest.intended_use),
        Fact(name="Disclaimer", told=manifest.disclaimer),
    ]
    if research:
        told = f"research and teaching only: the licences of films of {', '.join(research)} ask for it"
        facts.append(Fact(name="Licences of its films", told=told))
    misuse = " ".join(notes.misuse) or None
    facts.append(Fact(name="Misuse", told=misuse, asked="what it must not be used for, beyond patients"))
    return Section(key="use", title="Intended use and misuse", facts=tuple(facts))


def takes(manifest: OpenManifest, extra: Mapping[str, Any], notes: Notes) -> Section:
    """What goes in, what is refused, and beyond which limits a result is flagged."""
    frame, films = manifest.preprocess, manifest.recipe.get("films") or {}
    side, shape = frame.size_px, ASPECTS[frame.aspect]
    views = notes.views or ", ".join(map(str, films.get("views") or ())) or None
    facts = (
        Fact(name="Views", told=views, asked="which views it is made for"),
        Fact(
            name="Frame",
            told=f"{side} x {side} pixels, {shape}, {frame.depth_bits} bits",
        ),
        Fact(name="Channels", told=f"{frame.channels}, mean {_plain(frame.mean)}, deviation {_plain(frame.std)}"),
        Fact(name="Steps before", told=", ".join(map(str, frame.steps)) or "none"),
        Fact(name="Part of the film", told={"none": "all of it"}.get(frame.lungs, f"lungs: {frame.lungs}")),
        Fact(name="Refused", told=" ".join(notes.refused) or None, asked="which films it refuses"),
    )
    limits = extra.get("plausible") or {}
    rows = tuple((_spoken(name), figure(low), figure(high)) for name, (low, high) in limits.items())
    grid = Grid(caption="Plausible limits", head=("measure", "lowest", "highest"), rows=rows)
    return Section(
        key="input",
        title="Input",
        facts=facts,
        sentences=("A result beyond a plausible limit is flagged, and given all the same.",) if rows else (),
        grids=(grid,) if rows else (),
    )


def data(manifest: OpenManifest, notes: Notes) -> Section:
    """The films it was trained on."""
    facts = []
    total = manifest.provenance.get("films")
    if isinstance(total, int):
        facts.append(Fact(name="Films trained on", told=f"{total:,}"))
    elif not notes.data:
        facts.append(Fact(name="Films trained on", told=None, asked="number of films trained on"))
    index = manifest.provenance.get("index_digest")
    facts += [Fact(name="Index", told=f"SHA-256 {index}")] if index else []
    rows, cells = _sources(manifest, notes)
    gaps = () if rows else ("sources of the films trained on, with their licences",)
    head = ("source", "licence of its films", "labels or masks by", "films", "groups")
    note = "A group is a patient with all copies of the films."
    grid = Grid(caption="Sources trained on", head=head, rows=rows, texts=3, note=note)
    return Section(
        key="data",
        title="Data trained on",
        facts=tuple(facts),
        grids=(grid,) if rows else (),
        gaps=gaps,
        cells=tuple(cells),
    )


def _sources(manifest: OpenManifest, notes: Notes) -> tuple[tuple[tuple[str, ...], ...], list[str]]:
    """Rows of the table of sources, and the blanks in it."""
    if notes.data:
        told = [(one.source, one.licence, one.labels_by, _count(one.films), _count(one.groups)) for one in notes.data]
    else:
        films = manifest.recipe.get("films") or {}
        names = manifest.provenance.get("sources") or films.get("sources") or ()
        told = [(str(name), None, None, None, None) for name in names]
    asked = ("licence of its films", "who gave the labels or masks", "number of films", "number of groups")
    blanks = []
    for row in told:
        missing = [what for what, cell in zip(asked, row[1:], strict=True) if cell is None]
        blanks += [f"of {row[0]}: {', '.join(missing)}"] if missing else []
    return tuple(tuple(BLANK if cell is None else cell for cell in row) for row in told), blanks


def training(manifest: OpenManifest, notes: Notes) -> Section:
    """The recipe and the split."""
    recipe = manifest.recipe
    facts = [Fact(name="Recipe", told=f"all of it is in {MANIFEST} and at the end of this card")]
    for name, places in RECIPE:
        found = [_at(recipe, place) for place in places]
        plain = next((value for value in found if value is not None and not isinstance(value, Mapping)), None)
        facts += [Fact(name=name, told=_plain(plain))] if plain is not None else []
    split = notes.split or _split(recipe, manifest.provenance)
    facts.append(Fact(name="Split", told=split, asked="how films were split into train, tune and test"))
    held_out = manifest.provenance.get("held_out")
    facts += [Fact(name="Held out", told=str(held_out))] if held_out else []
    return Section(key="recipe", title="Recipe and split", facts=tuple(facts))


def _split(recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> str | None:
    """The split as a classifier's recipe says it."""
    told = recipe.get("split")
    if not isinstance(told, Mapping):
        return None
    method, folds = told.get("method"), told.get("folds")
    parts = [f"{method}, {folds} folds" if method == "kfold" else str(method), "by group"]
    parts += [f"tune {percent(told['tune'])}"] if isinstance(told.get("tune"), float) else []
    out = [str(name) for key in ("hold_out_sources", "hold_out_domains") for name in told.get(key) or ()]
    parts += [f"held out: {', '.join(out)}"] if out else []
    seeds = provenance.get("seeds")
    return ", ".join([*parts, *([f"seeds {_plain(seeds)}"] if seeds else [])])


def performance(extra: Mapping[str, Any], measured: Sequence[Measured]) -> Section:
    """Figures with what they rest on, thresholds, and what storing in half precision changed."""
    evaluation = extra.get("evaluation") or {}
    facts = [Fact(name="Headline", told=str(evaluation["headline"]))] if evaluation.get("headline") else []
    facts += _storage(extra)
    if isinstance(extra.get("temperature"), int | float):
        facts.append(Fact(name="Calibration", told=f"logits are divided by {figure(extra['temperature'])}"))
    points = [(p["label"], p["name"], figure(p["threshold"])) for p in extra.get("operating_points") or ()]
    grids = [figures_grid(measured)] if measured else []
    if points:
        head = ("class", "operating point", "threshold")
        grids.append(Grid(caption="Operating points, chosen on the tune fold", head=head, rows=tuple(points), texts=2))
    gaps = ["figures on films kept out of training"] if not measured and not evaluation.get("headline") else []
    if all(one.standing == "same" for one in measured):
        gaps.append("figures on films of another source (none measured)")
    unknown = dict.fromkeys(one.figure.films for one in measured if one.standing == "unknown")
    gaps += ["shortcut floor"] if "classes" in extra and not evaluation.get("headline") else []
    words = dict.fromkeys(f"{one.figure.films}: {one.words}" for one in measured if one.words)
    return Section(
        key="figures",
        title="Figures",
        sentences=(elsewhere(measured), *(_sentence(said) for said in words)),
        facts=tuple(facts),
        grids=tuple(grids),
        gaps=tuple(gaps),
        cells=tuple(f"whether its source was trained on: {films}" for films in unknown),
    )


def _storage(extra: Mapping[str, Any]) -> list[Fact]:
    if "stored" not in extra:
        return []
    told, agreement = f"weights stored as {extra['stored']}, computed in float32", extra.get("agreement")
    if agreement:
        told += (
            f"; on {agreement['films']:,} films {100 * agreement['pixels_changed']:.3f} % of the pixels changed "
            f"sides, a probability by at most {figure(agreement['largest_change'])}"
        )
    elif extra["stored"] != "float32":
        return [
            Fact(name="Storage", told=told),
            Fact(name="Half precision", told=None, asked="what storing it changed"),
        ]
    return [Fact(name="Storage", told=told)]


NONE = "–"
"""In a table: not measured of this label."""
STANDING = {"same": "the sources trained on", "other": "another source", "unknown": BLANK}


def figures_grid(measured: Sequence[Measured]) -> Grid:
    """A row for each set of films and label, a column for each metric."""
    metrics = tuple(dict.fromkeys(one.figure.metric for one in measured))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for one in measured:
        told = one.figure
        from_ = STANDING[one.standing] + ("" if one.own else f"; another training: {told.training}")
        key = (told.films, told.label, from_, f"{told.n:,}", f"{told.groups:,}")
        cells.setdefault(key, {})[told.metric] = with_interval(told.value, told.low, told.high)
    rows = tuple((*key, *(found.get(metric, NONE) for metric in metrics)) for key, found in cells.items())
    head = ("films", "label", "films are of", "n", "groups", *map(metric_name, metrics))
    return Grid(
        caption="Figures, each with its 95 % interval",
        head=head,
        rows=rows,
        texts=3,
        note="n = films. Intervals are over groups, a group being a patient with all copies of the films.",
    )


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """A figure with its interval.

    >>> with_interval(0.9, 0.85, 0.94)
    '0.900 [0.850–0.940]'
    """
    return figure(value) if low is None or high is None else f"{figure(value)} [{figure(low)}–{figure(high)}]"


def failing(notes: Notes) -> Section:
    """The films it does worst on."""
    rows = tuple(_failure(one) for one in notes.failures)
    head = ("film", "among", "why", "figure")
    grid = Grid(caption="Failure examples", head=head, rows=rows, texts=3)
    gaps = [f"why {one.film} fails" for one in notes.failures if one.reason is None]
    return Section(
        key="failures",
        title="Failure examples",
        grids=(grid,) if rows else (),
        gaps=() if rows else ("failure examples",),
        cells=tuple(gaps),
    )


def _failure(one: Failure) -> tuple[str, ...]:
    value = "" if one.value is None else f" {figure(one.value)}"
    return one.film, one.films or BLANK, one.reason or BLANK, f"{metric_name(one.metric)}{value}"


def unknowns(notes: Notes) -> Section:
    """What checklists ask and only people can answer."""
    answers = notes.answers
    facts = [Fact(name=name, told=getattr(answers, key), asked=asked) for key, (name, asked) in ASKED.items()]
    more = [Fact(name=name, told=getattr(answers, key)) for key, (name, _) in MORE.items()]
    facts += [fact for fact in more if fact.told is not None]
    return Section(key="asked", title="What checklists ask besides", facts=tuple(facts))


def origin(manifest: OpenManifest) -> Section:
    """Versions, machine, seeds, hashes."""
    grids = [grid for grid in of_provenance(manifest.provenance) if grid.rows]
    grids.append(Grid(caption="Files", head=("file", "SHA-256"), rows=tuple(manifest.files.items()), texts=2))
    gaps = () if manifest.provenance else ("how it came to be: versions, machine, seeds",)
    return Section(key="origin", title="How it came to be", grids=tuple(grids), gaps=gaps)


def _at(told: Mapping[str, Any], place: str) -> Any:
    value: Any = told
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple) and not any(isinstance(one, Mapping | list | tuple) for one in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else canonical_json(value)


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _spoken(name: str) -> str:
    return re.sub("_", " ", name).capitalize()


def _sentence(said: str) -> str:
    return said if said.endswith(".") else f"{said}."
