"""The one way to measure here: several ways in turn, round by round, and what came of it as JSON.

A way is a function without arguments. All ways run once a round, each round in another order, so that whatever else
the machine does falls on all of them; ratios are taken within a round, then the median and the range from the 10th to
the 90th percentile over rounds. Processor time counts processes that a way started and waited for. A way that measured
itself, in another process say, returns its `Spent`.

A script gives a `Result`, whose `rows` are goals held against what was measured:

    options = parser(__doc__).parse_args()
    timings = interleaved({"theirs": ..., "ours": ...}, rounds=20)
    row = Row.of("what", "whom", timings, ours="ours", theirs="theirs", unit="ms a film", goal=2.0, scale=1000 / films)
    Result.of("name", __doc__, [row], options, tables=(timings.table(...),)).deliver(options)
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hilum.files import write_json
from hilum.parallel import default_processes
from hilum.provenance import describe_machine, describe_versions

FORMAT = 1
Clock = Literal["processor", "wall"]
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
"""Of the processor: what decides how fast float32, bfloat16 and whole numbers are."""
MOST_BUSY = 0.2
"""Share of the cores' time taken by others before a measurement, from which on wall-clock times say little."""


@dataclass(frozen=True)
class Spent:
    """Seconds of wall clock and of the processor."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Ratio:
    """A ratio over rounds: its median, and where the middle four fifths of them lie."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Ratio":
        """Of one value a round."""
        given = list(values)
        low, median, high = (float(value) for value in np.percentile(given, [10, 50, 90]))
        return cls(median=median, low=low, high=high, rounds=len(given))

    def __str__(self) -> str:
        spread = f" [{figure(self.low)}-{figure(self.high)}]" if self.rounds > 1 else ""
        return f"{figure(self.median)}{spread}"


def figure(value: float) -> str:
    """Three figures that mean something, no exponent.

    >>> [figure(value) for value in (0.01234, 1.234, 61.24, 1233.8)]
    ['0.0123', '1.23', '61.2', '1,234']
    """
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{places}f}"


@dataclass(frozen=True)
class Timings:
    """Seconds of every way in every round; equally many a way."""

    rounds: Mapping[str, Sequence[Spent]]

    def seconds(self, way: str, clock: Clock = "processor") -> list[float]:
        """A value a round."""
        return [getattr(spent, clock) for spent in self.rounds[way]]

    def ratio(self, theirs: str, ours: str, clock: Clock = "processor") -> Ratio:
        """How many times as long their way takes, round by round."""
        pairs = zip(self.seconds(theirs, clock), self.seconds(ours, clock), strict=True)
        return Ratio.of(theirs_s / max(ours_s, 1e-9) for theirs_s, ours_s in pairs)

    def table(self, title: str, *, against: str, unit: str, scale: float = 1000.0) -> "Table":
        """A row a way: processor and wall, median and range, and how many times `against` takes."""
        cells = []
        for way in self.rounds:
            spread = [str(Ratio.of(scale * one for one in self.seconds(way, clock))) for clock in CLOCKS]
            ratios = ["1" if way == against else str(self.ratio(against, way, clock)) for clock in CLOCKS]
            cells.append((way, *spread, *ratios))
        columns = ("way", f"processor, {unit}", f"wall, {unit}", f"{against} over it, processor", "wall")
        return Table(title=title, columns=columns, cells=tuple(cells))


CLOCKS: tuple[Clock, Clock] = ("processor", "wall")


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1) -> Timings:
    """Run every way once a round, each round starting with the next, and keep what each took.

    Args:
        ways: by name.
        rounds: to keep.
        warm_up: rounds that come first and are not kept.
    """
    names = list(ways)
    kept: dict[str, list[Spent]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            spent = timed(ways[name])
            if number >= warm_up:
                kept[name].append(spent)
    return Timings(kept)


def timed(work: Callable[[], object]) -> Spent:
    """What `work` took: this process and the ended ones that it started, or what it says itself."""
    wall, processor = time.perf_counter(), processor_seconds()
    told = work()
    spent = Spent(time.perf_counter() - wall, processor_seconds() - processor)
    return told if isinstance(told, Spent) else spent


def processor_seconds() -> float:
    """Of this process and those it waited for, so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@dataclass(frozen=True)
class Table:
    """What belongs to a row but is none: shown below it."""

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """With its title above it."""
        lines = [f"| {' | '.join(line)} |" for line in (self.columns, *self.cells)]
        lines.insert(1, "|" + "---|" * len(self.columns))
        return "\n".join([self.title, "", *lines])


@dataclass(frozen=True)
class Row:
    """One goal and what was measured.

    Attributes:
        what: is done.
        peer: whom or what it is held against.
        ratio: peer's over ours, so that larger is better; None where it was not measured.
        goal: the least ratio wanted; None where none was set.
        ours: median, in `unit`.
        theirs: the peer's.
        n: rounds.
        why: the goal is not met, or was not measured.
        notes: what else must be known, such as how far the answers lie apart.
    """

    what: str
    peer: str
    ratio: Ratio | None = None
    goal: float | None = None
    ours: float | None = None
    theirs: float | None = None
    unit: str = ""
    n: int = 0
    why: str = ""
    notes: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is no goal, or nothing was measured."""
        return None if self.ratio is None or self.goal is None else self.ratio.median >= self.goal

    @classmethod
    def of(
        cls,
        what: str,
        peer: str,
        timings: Timings,
        *,
        ours: str,
        theirs: str,
        unit: str,
        scale: float = 1000.0,
        clock: Clock = "processor",
        goal: float | None = None,
        why: str = "",
        notes: str = "",
    ) -> "Row":
        """Of two of the ways that were timed; `why` is kept where the goal is missed only.

        Args:
            what: is done.
            peer: whom it is held against.
            timings: of both.
            ours: name of our way.
            theirs: name of theirs.
            unit: of `ours` and `theirs`, seconds times `scale`.
            scale: see `unit`.
            clock: that the ratio is taken of.
            goal: the least ratio wanted.
            why: the goal would be missed.
            notes: what else must be known.
        """
        medians = [scale * statistics.median(timings.seconds(way, clock)) for way in (ours, theirs)]
        row = cls(
            what,
            peer,
            ratio=timings.ratio(theirs, ours, clock),
            goal=goal,
            ours=medians[0],
            theirs=medians[1],
            unit=f"{unit}, {clock}",
            n=len(timings.rounds[ours]),
            notes=notes,
        )
        return row if row.met in (True, None) else row.because(why)

    def because(self, why: str) -> "Row":
        """The same row with the reason for a goal missed."""
        return Row(**{one.name: getattr(self, one.name) for one in fields(self)} | {"why": why})

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Row":
        """What `as_json` gave; keys that are none of a row's are passed over.

        Raises:
            KeyError: it does not say what was done, or against whom.
        """
        known = {one.name: told[one.name] for one in fields(cls) if told.get(one.name) is not None}
        ratio = told.get("ratio")
        if isinstance(ratio, Mapping):
            known["ratio"] = Ratio(**{one.name: ratio[one.name] for one in fields(Ratio)})
        elif ratio is not None:
            known["ratio"] = Ratio(ratio, ratio, ratio, 1)
        return cls(**known | {"what": told["what"], "peer": told["peer"]})


@dataclass(frozen=True)
class Result:
    """What a script found, of one run on one machine."""

    name: str
    title: str
    rows: tuple[Row, ...]
    tables: tuple[Table, ...] = ()
    told: tuple[str, ...] = ()
    """Paragraphs in Markdown."""
    quick: bool = False
    machine: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        rows: Sequence[Row],
        options: argparse.Namespace,
        *,
        tables: Sequence[Table] = (),
        told: Sequence[str] = (),
    ) -> "Result":
        """A result with the machine it is of; `options` are those of `parser`."""
        return cls(
            name=name,
            title=title.strip().splitlines()[0].partition(":")[0].rstrip("."),
            rows=tuple(rows),
            tables=tuple(tables),
            told=tuple(told),
            quick=options.quick,
            machine=machine(options.threads) | {"busy_before": options.busy_before},
            command=f"python benchmarks/{Path(sys.argv[0]).name}{' --quick' if options.quick else ''}",
            seconds=time.perf_counter() - options.started,
        )

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT} | asdict(self) | {"rows": [row.as_json() for row in self.rows]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Result":
        """What `as_json` gave, or another script's JSON with `rows` in it.

        Raises:
            KeyError: it has no rows, or a row lacks what it must have.
        """
        tables = tuple(
            Table(one["title"], tuple(one["columns"]), tuple(tuple(map(str, line)) for line in one["cells"]))
            for one in told.get("tables", ())
        )
        simple = {key: told[key] for key in ("quick", "machine", "command", "seconds") if key in told}
        return cls(
            name=told["name"],
            title=told.get("title", told["name"]),
            rows=tuple(Row.from_json(row) for row in told["rows"]),
            tables=tables,
            told=tuple(told.get("told", ())),
            **simple,
        )

    def deliver(self, options: argparse.Namespace) -> None:
        """Print it, and write it where `--json` says."""
        for row in self.rows:
            print(line_of(row))
        for table in self.tables:
            print(f"\n{table.markdown()}")
        for paragraph in self.told:
            print(f"\n{paragraph}")
        if options.json:
            write_json(options.json, self.as_json())


def line_of(row: Row) -> str:
    """A row in a line of text.

    >>> line_of(Row("decode", "cv2", Ratio(2.0, 1.8, 2.2, 9), goal=1.6))
    'decode against cv2: 2.00 [1.80-2.20] (goal 1.6: met)'
    """
    if row.ratio is None:
        return f"{row.what} against {row.peer}: not measured: {row.why}"
    goal = "no goal" if row.goal is None else f"goal {row.goal:g}: {'met' if row.met else f'not met: {row.why}'}"
    return f"{row.what} against {row.peer}: {row.ratio} ({goal})"


class Parser(argparse.ArgumentParser):
    """Options, some of which have another default with `--quick`; told with them is how busy others were."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.paces: dict[str, tuple[int, int]] = {}

    def add_paced(self, name: str, what: str, *, full: int, quick: int) -> None:
        """A whole number: `full`, or `quick` with `--quick`, where it is not given."""
        self.add_argument(f"--{name}", type=int, help=f"{what}; default {full:,}, {quick:,} with --quick")
        self.paces[name.replace("-", "_")] = full, quick

    def parse_args(self, args: Sequence[str] | None = None) -> argparse.Namespace:  # type: ignore[override]
        options = super().parse_args(args)
        for name, (full, quick) in self.paces.items():
            setattr(options, name, getattr(options, name) or (quick if options.quick else full))
        options.busy_before = busy()  # not where help was all that was asked for
        return options


def parser(docstring: str | None, *, threads: int | None = None) -> Parser:
    """The options every script has; what it reads is also when the script began, and how busy others were then."""
    made = Parser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    made.add_argument("--quick", action="store_true", help="a minute or less: fewer films and rounds")
    made.add_argument("--threads", type=int, default=threads or default_processes(), help="on both sides")
    made.set_defaults(started=time.perf_counter())
    return made


def use_threads(count: int) -> None:
    """Have numerical libraries take so many threads; to be called before they are imported."""
    from hilum.process import settle

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    settle()


def machine(threads: int) -> dict[str, Any]:
    """Where it ran: processor and what it can, cores, threads taken, versions."""
    return {**describe_machine(), "can": processor_flags(), "threads": threads, "versions": describe_versions()}


def processor_flags() -> list[str]:
    """Those of `FLAGS` that this processor has; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    has = set(line.partition(":")[2].split())
    return [name for name in FLAGS if name in has]


def busy(seconds: float = 2.0) -> float | None:
    """Share of the cores' time, 0 to 1, that is taken while this process waits; None where the system does not tell."""
    try:
        used, whole = ticks()
        time.sleep(seconds)
        later_used, later_whole = ticks()
    except OSError:
        return None
    return round((later_used - used) / max(1, later_whole - whole), 2)


def ticks() -> tuple[int, int]:
    """Of all cores since the system started: taken, and in all (proc(5), `/proc/stat`)."""
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    user, nice, system, idle, iowait, *others = map(int, first.split()[1:9])
    used = user + nice + system + sum(others)
    return used, used + idle + iowait
