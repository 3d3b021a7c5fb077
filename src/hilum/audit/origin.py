"""What is known of where films come from, and whether what is no chest film is turned away."""

import pandas as pd
from scipy.stats import binom, binomtest

from hilum.audit.check import Finding, Measured, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import Subject

KNOWN = ("source", "licence", "sha256")


def ask_provenance(subject: Subject) -> Finding:
    """23: films whose source, licence or hash is not recorded."""
    question = QUESTIONS["provenance"]
    films = subject.films
    lacking = {name: films[name].isna() if name in films else films["image_id"].notna() for name in KNOWN}
    number = int((lacking["source"] | lacking["licence"] | lacking["sha256"]).sum())
    counts = {name: int(rows.sum()) for name, rows in lacking.items()}
    measured = Measured(of="films", value=float(number), n=len(films), counts=True)
    says = f"{number} of {len(films)} films lack a source, a licence or a hash"
    says += "." if not number else " (" + ", ".join(f"{name}: {n}" for name, n in counts.items() if n) + ")."
    licences = films["licence"].fillna("not recorded") if "licence" in films else pd.Series(dtype="string")
    details = {
        "lacking": counts,
        "sources": {str(name): int(n) for name, n in films["source"].value_counts().items()},
        "licences": {str(name): int(n) for name, n in licences.value_counts().items()},
    }
    return found(question, [measured], says, details=details)


def ask_gate(subject: Subject) -> Finding:
    """21: share refused of each kind of picture that is no frontal chest film; p against the limit of the warning."""
    question = QUESTIONS["gate"]
    shown = {kind: counts for kind, counts in (subject.gate or {}).items() if counts[1]}
    if not shown:
        return skipped(question, "no pictures were shown to the gate that it should refuse")
    measured = []
    for kind, (refused, total) in shown.items():
        bounds = binomtest(refused, total).proportion_ci(method="exact")
        p = float(binom.cdf(refused, total, question.warn or 1.0))
        low, high = float(bounds.low), float(bounds.high)
        measured.append(Measured(of=kind, value=refused / total, low=low, high=high, p=p, n=total))
    refused, total = (sum(counts[place] for counts in shown.values()) for place in (0, 1))
    least = min(measured, key=lambda one: one.value)
    says = f"{refused} of {total} pictures are refused; of kind {least.of}, {least.value:.1%}."
    return found(question, measured, says, details={"kinds": {kind: list(counts) for kind, counts in shown.items()}})
