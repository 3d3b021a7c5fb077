"""Time and memory of every stage at 1,000, 10,000 and 100,000 films.

    python benchmarks/growth.py [--films 1000 10000 100000] [--page docs/explanation/growth.md]
    python benchmarks/growth.py --stages duplicates    # compares films keypoint by keypoint; no part of the main job

The films are mixed of 1,000 simulated ones, 160 px, no two alike. Every stage at every size is a command in a process
of its own, cold, with a cache of its own; wall clock, processor and memory are those of all its processes. A stage that
would take longer than `--budget-s`, going by the size before, is left out, and said to be. What is finished is kept a
line a cell in `--cells`: an interrupted run goes on there, and a second run measures only what was left out and what
`--again` names. The scratch folder needs 50 kB a film; it is removed at the end without `--keep`. Linux only.

Goal: nothing grows faster than linearly (exponent 1.15 at most between the two largest sizes), and the table of 100,000
films is indexed, split and described in less than 1 GB.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from growth_films import SOURCE, fill_pool, hilum, lay_out, simulated
from growth_page import Cell, draw, exponent, page_of, rows_of, table_of
from measuring import Result, parser, use_threads
from watched import watched

from hilum.files import write_text

BASE_FILMS = 1000
RECIPE = """title = "Growth"
[films]
sources = ["simulated"]
views = ["PA", "AP"]
[classes]
covid19 = ["covid19"]
bacterial = ["bacterial_pneumonia"]
normal = ["normal"]
viral = ["viral_pneumonia"]
[split]
method = "kfold"
folds = 5
tune = 0.2
seeds = [0]
[preprocess]
size_px = 128
aspect = "pad"
[network]
level = -2
pooling = "avg"
[schedule]
optimiser = "lbfgs"
weight_decay = 0.3
epochs = 40
patience = 5
"""
DATA_CHECKS = ("source", "header", "edges", "groups-across-folds", "duplicates", "attributes", "hygiene", "size")
SLACK = 2.0
"""A stage is ended when it takes so many times its budget."""
DONE = (0, 3)
"""Exit status of a command that did its work; 3 where it refused some films."""


@dataclass(frozen=True)
class Place:
    """Where one size's files lie."""

    folder: Path
    films: int

    @property
    def root(self) -> Path:
        return self.folder / f"films-{self.films}"

    @property
    def images(self) -> Path:
        return self.root / SOURCE / "images"

    @property
    def cache(self) -> Path:
        return self.folder / f"cache-{self.films}"

    def made(self, name: str) -> Path:
        """What a stage makes."""
        return self.folder / f"made-{self.films}" / name


@dataclass(frozen=True)
class Stage:
    """A stage of the work.

    Attributes:
        command: what to run.
        makes: what is there afterwards; a folder's last file.
        needs: stages whose files it reads.
        remembers: what it would find again, in the cache or among what is made; gone before it is measured.
        named_only: measured and shown only where it is named.
        says: what it does, for the page.
    """

    command: Callable[[Place], list[str]]
    says: str
    makes: str = ""
    needs: tuple[str, ...] = ()
    remembers: tuple[str, ...] = ()
    named_only: bool = False

    def forget(self, place: Place) -> None:
        """Remove what it would find again."""
        for name in self.remembers:
            for path in (place.cache / name, place.made(name)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def verb(*words: str) -> Callable[[Place], list[str]]:
    """A command of hilum; {root}, {images} and {made:NAME} are put in."""

    def command(place: Place) -> list[str]:
        return [*hilum(), *(_filled(word, place) for word in words)]

    return command


def _filled(word: str, place: Place) -> str:
    name = word.removeprefix("made:")
    if name != word:
        return str(place.made(name))
    if word == "{run}":
        return str(_trained(place))
    return {"{root}": str(place.root), "{images}": str(place.images)}.get(word, word)


def _trained(place: Place) -> Path:
    """The run of the fewest films: what a network costs does not depend on how many it was trained on."""
    runs = sorted(place.folder.glob("made-*/run/run.json"), key=lambda file: int(file.parts[-3].partition("-")[2]))
    if not runs:
        sys.exit("no run to predict with; measure train first: --stages train predict")
    return runs[0].parent


def part(name: str) -> Callable[[Place], list[str]]:
    """A part of hilum that is no command of its own, by `growth_parts.py`."""
    script = str(Path(__file__).with_name("growth_parts.py"))
    return lambda place: [sys.executable, script, name, str(place.made(""))]


def fabricated(place: Place) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("index_growth.py")), "--one", str(place.films)]


INDEX, RUN = "made:index.parquet", "made:run"
CHECKS = tuple(word for name in DATA_CHECKS for word in ("--only", name))
STAGES: Mapping[str, Stage] = {
    "index": Stage(
        verb("index", SOURCE, "--root", "{root}", "--out", INDEX),
        "open, hash, compare, group",
        "index.parquet",
        remembers=("facts.sqlite",),
    ),
    "index again": Stage(
        verb("index", SOURCE, "--root", "{root}", "--out", "made:again.parquet"), "no film opened", needs=("index",)
    ),
    "duplicates": Stage(
        verb("duplicates", INDEX, "--out", "made:twins"),
        "keypoints of each film, looked up and compared",
        needs=("index",),
        remembers=("keypoints", "twins"),
        named_only=True,
    ),
    "table": Stage(fabricated, "fabricated films: groups, split, description"),
    "describe": Stage(verb("describe", INDEX, "--json"), "cohort statistics", needs=("index",)),
    "frame cache": Stage(part("frames"), "decode to 128 px", needs=("index",), remembers=("frames",)),
    "train": Stage(
        verb("train", "made:recipe.toml", "--index", INDEX, "--out", RUN),
        "features of a frozen Lite0, five heads, floors, report",
        "run/run.json",
        needs=("frame cache",),
        remembers=("features", "run"),
    ),
    "heads": Stage(
        verb("train", "made:recipe.toml", "--index", INDEX, "--out", "made:run-2"),
        "the same, features known",
        needs=("train",),
        remembers=("run-2",),
    ),
    "evaluate": Stage(part("evaluate"), "every figure with its interval", needs=("train",)),
    "audit": Stage(
        verb("audit", RUN, *CHECKS),
        "eight checks of the data; films are compared keypoint by keypoint up to 5,000 of them",
        needs=("train",),
        remembers=("keypoints", "run/audit"),
    ),
    "predict": Stage(
        verb("predict", "{run}", "{images}", "--no-gate", "--out", "made:predictions.csv"),
        "decode, Lite0, CSV",
        remembers=("predictions.csv", "predictions.csv.parts"),
    ),
    "view": Stage(verb("view", "{images}", "--out", "made:views.csv"), "view and projection of each film"),
    "lungs": Stage(verb("lungs", "{images}", "--out", "made:lungs"), "a mask a film", remembers=("lungs",)),
    "lesions": Stage(
        verb("lesions", "{images}", "--out", "made:lesions"), "masks and shares a film", remembers=("lesions",)
    ),
}


def usual() -> list[str]:
    """The stages of the main job."""
    return [name for name, stage in STAGES.items() if not stage.named_only]


@dataclass
class Book:
    """Cells measured so far, a JSON line each."""

    file: Path
    cells: list[Cell] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.file.is_file():
            text = self.file.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # a run that was killed may have left half a line
            if whole != text:
                write_text(self.file, whole)
            self.cells = [Cell(**json.loads(line)) for line in whole.splitlines()]

    def find(self, stage: str, films: int) -> Cell | None:
        """The last one of a stage and size."""
        return next((cell for cell in reversed(self.cells) if (cell.stage, cell.films) == (stage, films)), None)

    def add(self, cell: Cell) -> None:
        self.cells.append(cell)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(cell)) + "\n")

    def latest(self, stages: Sequence[str]) -> list[Cell]:
        """One a stage and size, in that order."""
        sizes = sorted({cell.films for cell in self.cells})
        found = (self.find(stage, films) for stage in stages for films in sizes)
        return [cell for cell in found if cell]


def expected_s(book: Book, stage: str, films: int) -> float | None:
    """How long a stage will take, going by the two sizes before; None where nothing is known of it."""
    before = [cell for cell in (book.find(stage, size) for size in _sizes(book, below=films)) if cell and cell.wall_s]
    if not before:
        return None
    last = before[-1]
    grows = max(1.0, exponent(before[-2], last)) if len(before) > 1 else 1.0
    told: float = last.wall_s * (films / last.films) ** grows
    return told


def _sizes(book: Book, *, below: int) -> list[int]:
    return sorted({cell.films for cell in book.cells if cell.films < below})


def pending(stage: str, films: int, book: Book, options: argparse.Namespace) -> bool:
    """Whether a cell is still to be measured; one that was left out may be within the budget now."""
    known = book.find(stage, films)
    return stage in options.again or known is None or bool(known.stopped)


def measure(stage: str, place: Place, book: Book, options: argparse.Namespace) -> None:
    """Measure one cell, and before it those whose files it reads and that are not there any more."""
    told = STAGES[stage]
    for need in told.needs:
        known = book.find(need, place.films)
        if known is None or not (known.stopped or place.made(STAGES[need].makes).exists()):
            measure(need, place, book, options)
    lacking = next((need for need in told.needs if (cell := book.find(need, place.films)) and cell.stopped), None)
    expected = expected_s(book, stage, place.films)
    if lacking or (expected or 0.0) > options.budget_s:
        why = f"needs {lacking}" if lacking else f"would take about {expected:.0f} s, more than {options.budget_s:.0f}"
        book.add(Cell(stage, place.films, stopped=why))
    else:
        book.add(_run(stage, place, options))
    print(_line(book.cells[-1]), flush=True)


def _line(cell: Cell) -> str:
    told = cell.stopped or f"{cell.wall_s:.1f} s, processor {cell.processor_s:.1f} s, {cell.peak_mb:.0f} MB"
    return f"{cell.stage}, {cell.films:,} films: {told}"


def _run(stage: str, place: Place, options: argparse.Namespace) -> Cell:
    STAGES[stage].forget(place)
    write_text(place.made("recipe.toml"), RECIPE)
    env = os.environ | {"HILUM_CACHE": str(place.cache)}
    cost = watched(
        STAGES[stage].command(place),
        env,
        place.made(f"{stage}.log"),
        at_most_s=SLACK * options.budget_s,
    )
    if cost.status < 0:
        return Cell(stage, place.films, stopped=f"ended after {cost.wall_s:.0f} s")
    if cost.status not in DONE:
        sys.exit(
            f"{stage} of {place.films:,} films failed with status {cost.status}; what is done is kept\n{cost.said}"
        )
    parts = json.loads((place.made("run") / "run.json").read_text())["seconds"] if stage == "train" else {}
    return Cell(
        stage, place.films, round(cost.wall_s, 2), round(cost.processor_s, 2), round(cost.peak_mb, 1), parts=parts
    )


def prepared(options: argparse.Namespace, sizes: Sequence[int]) -> Iterator[Place]:
    """The films of every size, when it is its turn; those that are there stay."""
    for films in sizes:
        base = simulated(options.base or options.scratch / "base", min(BASE_FILMS, max(sizes)))
        place = Place(options.scratch, films)
        fill_pool(base, options.scratch / "pool", films)
        lay_out(base, options.scratch / "pool", place.root, films)
        yield place


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--films", type=int, nargs="+", default=None, help="sizes; 1000 10000 100000")
    made.add_argument("--stages", nargs="+", choices=STAGES, default=usual(), metavar="STAGE")
    made.add_argument("--again", nargs="+", choices=STAGES, default=[], metavar="STAGE", help="measure these anew")
    made.add_argument("--budget-s", type=float, default=1800.0, help="seconds a stage may take at one size")
    made.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "hilum-growth")
    made.add_argument("--base", type=Path, help="folder of simulated films, ROOT of `hilum simulate --out`")
    made.add_argument("--cells", type=Path, help="JSON lines, a cell each; default SCRATCH.jsonl")
    made.add_argument("--keep", action="store_true", help="leave the scratch folder")
    made.add_argument("--page", type=Path, help="write the tables into this page, between markers; figure beside it")
    options = made.parse_args()
    options.films = options.films or ([60, 120] if options.quick else [1_000, 10_000, 100_000])
    options.cells = options.cells or options.scratch.with_suffix(".quick.jsonl" if options.quick else ".jsonl")
    return options


def main() -> None:
    options = asked()
    use_threads(options.threads)
    book = Book(options.cells)
    sizes = [films for films in sorted(options.films) if any(pending(s, films, book, options) for s in options.stages)]
    for place in prepared(options, sizes):
        for stage in options.stages:
            if pending(stage, place.films, book, options):
                measure(stage, place, book, options)
    if not options.keep:
        shutil.rmtree(options.scratch, ignore_errors=True)
    shown = [stage for stage in STAGES if stage in {*usual(), *options.stages}]
    cells = book.latest(shown)
    result = Result.of("growth", __doc__, rows_of(cells), options, tables=(table_of(cells),))
    result.deliver(options)
    if options.page:
        page_of(options.page, result, cells, {stage: STAGES[stage].says for stage in shown})
        draw(cells, options.page.parents[1] / "images" / "growth.svg")


if __name__ == "__main__":
    main()
