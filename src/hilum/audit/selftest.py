"""The audit's test of itself: does it find every shortcut that was planted, and none where there are none?

Each kind of shortcut of `planted` is put into a cohort of simulated films at full strength, and beside it stands its
shuffled control. Nobody in these films is ill, so only the shortcut knows the label: disease that shows in a thumbnail
would be flagged too. Every cohort is audited by the checks about data sets. One planted shortcut not flagged, or one
control accused, and the audit fails its own test. How weak a shortcut may be and still be seen is measured by
`benchmarks/audit_sensitivity.py`.
"""

from dataclasses import asdict
from pathlib import Path

from hilum.audit.check import Verdict
from hilum.audit.planted import KINDS, Plant, Stock, draw_cohort, make_stock
from hilum.audit.result import Audit
from hilum.audit.running import run_audit
from hilum.audit.tested import ASKED, RESULT, Seen, SelfTest, Trial, audit_key, memory
from hilum.files import write_json
from hilum.parallel import Watch, unwatched

FILMS = 160
SEED = 22


def self_test(
    out: Path, *, films: int = FILMS, seed: int = SEED, processes: int | None = None, watch: Watch = unwatched
) -> SelfTest:
    """Simulate films, plant each kind and its control, audit both; write `out/self-test.json` and remember the answer.

    Films already simulated in `out` are used again, and audits already made are not made again.

    Raises:
        UsageError: the folder holds other films.
        MissingExtra: the package that carries the CT is not installed.
    """
    stock = make_stock(out, films=films, seed=seed, processes=processes, watch=watch)
    trials = []
    with watch("audit cohorts") as progress:
        for number, kind in enumerate(KINDS):
            for control in (False, True):
                trials.append(_tried(stock, kind, out / "audits", control=control, seed=seed + number))
                progress(len(trials), 2 * len(KINDS))
    made = SelfTest(audit_key(), tuple(trials))
    for file in (out / RESULT, memory()):
        write_json(file, {"verdict": made.verdict.value, **asdict(made)})
    return made


def _tried(stock: Stock, kind: str, folder: Path, *, control: bool, seed: int) -> Trial:
    subject = draw_cohort(stock, Plant(kind=kind, shuffled=control, disease=False), seed=seed)
    audit = run_audit(subject, folder / (f"{kind}-control" if control else kind), only=ASKED)
    return Trial(kind=kind, control=control, films=len(subject.films), verdict=audit.verdict, seen=seen_by(audit))


def seen_by(audit: Audit) -> tuple[Seen, ...]:
    """The checks that warn or fail, each with its worst measurement, the worst first."""
    ordered = (Verdict.FAIL, Verdict.WARN)
    told = [
        Seen(check=one.check, of=one.worst.of, verdict=one.verdict, value=one.worst.value, low=one.worst.low)
        for one in audit.findings
        if one.verdict in ordered and one.worst is not None
    ]
    return tuple(sorted(told, key=lambda one: (ordered.index(one.verdict), -one.value)))
