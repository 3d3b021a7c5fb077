"""The audit's test of itself: does it find every shortcut that was planted, and none where there are none?

Each kind of shortcut of `planted` is put into a cohort of simulated films at full strength, and beside it stands its
shuffled control. Nobody in these films is ill, so only the shortcut knows the label: disease that shows in a thumbnail
may be flagged too. Every cohort is audited by the checks about data sets that need no probe.

The check that trains a probe on films without their lungs is shown one mark outside the lungs, on films whose disease
tells the label as well: the probe must keep its score where the mark tells the label, and lose it where the mark is
scattered. A control whose score chance alone would give is not passed, so that a skipped check is no proof.

One planted shortcut not flagged, or one control accused, and the audit fails its own test. How weak a shortcut may be
and still be seen is measured by `benchmarks/audit_sensitivity.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from hilum.audit.check import Verdict
from hilum.audit.planted import KINDS, Plant, Stock, draw_cohort, make_stock
from hilum.audit.result import Audit
from hilum.audit.running import run_audit
from hilum.audit.tested import ASKED, PROBED, RESULT, Seen, SelfTest, Trial, audit_key, memory
from hilum.files import write_json
from hilum.parallel import Watch, unwatched

FILMS = 160
SEED = 22
OUTSIDE = "marker"
"""A mark that lies outside the lungs."""
PROBE_FILMS = 96
"""Films of a cohort that a probe is trained on: each costs a pass of the lung network and two of the probe's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A trial to be made: what it is called, what is planted, its control, and by which checks both are audited."""

    kind: str
    plant: Plant
    control: Plant
    asked: Sequence[str]
    films: int | None = None


def self_test(
    out: Path, *, films: int = FILMS, seed: int = SEED, processes: int | None = None, watch: Watch = unwatched
) -> SelfTest:
    """Simulate films, plant each kind and its control, audit both; write `out/self-test.json` and remember the answer.

    Films already simulated in `out` are used again, and audits already made are not made again. Without torch no probe
    can be trained, and its trial is left out.

    Raises:
        UsageError: the folder holds other films.
        MissingExtra: the package that carries the CT is not installed.
    """
    stock = make_stock(out, films=films, seed=seed, processes=processes, watch=watch)
    trials, wanted = [], _planned()
    with watch("audit cohorts") as progress:
        for number, one in enumerate(wanted):
            for control in (False, True):
                trials.append(_tried(stock, one, out / "audits", control=control, seed=seed + number))
                progress(len(trials), 2 * len(wanted))
    made = SelfTest(audit_key(), tuple(trials))
    for file in (out / RESULT, memory()):
        write_json(file, {"verdict": made.verdict.value, **asdict(made)})
    return made


def _planned() -> list[_Planned]:
    """Every kind where nobody is ill; and, for a probe, a mark on films with disease."""
    healthy = [Plant(kind=kind, disease=False) for kind in KINDS]
    made = [
        _Planned(kind=kind, plant=plant, control=replace(plant, shuffled=True), asked=ASKED)
        for kind, plant in zip(KINDS, healthy, strict=True)
    ]
    if find_spec("torch") is not None:
        marked, scattered = (Plant(kind=OUTSIDE, scattered=by_lot) for by_lot in (False, True))
        name = f"{OUTSIDE}, lungs hidden"
        made.append(_Planned(kind=name, plant=marked, control=scattered, asked=PROBED, films=PROBE_FILMS))
    return made


def _tried(stock: Stock, one: _Planned, folder: Path, *, control: bool, seed: int) -> Trial:
    subject = draw_cohort(stock, one.control if control else one.plant, seed=seed, films=one.films)
    name = one.kind.replace(", ", "-").replace(" ", "-")
    audit = run_audit(subject, folder / (f"{name}-control" if control else name), only=one.asked)
    return Trial(kind=one.kind, control=control, films=len(subject.films), verdict=audit.verdict, seen=seen_by(audit))


def seen_by(audit: Audit) -> tuple[Seen, ...]:
    """The checks that warn or fail, each with its worst measurement, the worst first."""
    ordered = (Verdict.FAIL, Verdict.WARN)
    told = [
        Seen(check=one.check, of=one.worst.of, verdict=one.verdict, value=one.worst.value, low=one.worst.low)
        for one in audit.findings
        if one.verdict in ordered and one.worst is not None
    ]
    return tuple(sorted(told, key=lambda one: (ordered.index(one.verdict), -one.value)))
