"""The five mutually exclusive labels of the composite sets, and what a stated finding says about each.

A diagnosis excludes the other four, with one exception: a pneumonia whose cause is not stated may be viral or
bacterial, so those two are left unassessed; COVID-19 is taken as absent there, since every set that mixes causes
names COVID-19 wherever it is known.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, PNEUMONIA, VIRAL_PNEUMONIA

COMPOSITE = (NORMAL, COVID19, PNEUMONIA, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA)

_NORMAL = frozenset({"no finding", "no findings", "normal"})
_COVID19 = frozenset({"covid-19", "covid19", "covid"})
_VIRAL = frozenset({"viral", "sars", "mers", "mers-cov", "influenza", "h1n1", "varicella", "herpes", "rsv"})
_BACTERIAL = frozenset(
    {
        "bacterial",
        "streptococcus",
        "klebsiella",
        "legionella",
        "e.coli",
        "mycoplasma",
        "mycoplasma bacterial pneumonia",
        "chlamydophila",
        "nocardia",
        "staphylococcus",
        "mrsa",
        "haemophilus",
    }
)
_OTHER_CAUSE = frozenset(
    {"fungal", "pneumocystis", "aspergillosis", "lipoid", "aspiration", "organising", "organizing"}
)
_CAUSE_UNSTATED = "the cause of the pneumonia is not stated; viral and bacterial are not assessed"


@dataclass(frozen=True)
class Diagnosis:
    """One of the five labels, and whether the cause is stated (only `pneumonia` can be without one)."""

    label: str
    cause_stated: bool = True


def diagnosis_of(finding: str) -> Diagnosis | None:
    """The diagnosis in a finding: a path ("Pneumonia/Viral/COVID-19") or the older flat words ("COVID-19, ARDS").

    None where the finding names no pneumonia and no normal film ("ARDS", "Tuberculosis", "todo", "").

    >>> diagnosis_of("Pneumonia/Bacterial/Staphylococcus/MRSA").label
    'bacterial_pneumonia'
    >>> diagnosis_of("Pneumocystis"), diagnosis_of("Pneumonia")
    (Diagnosis(label='pneumonia', cause_stated=True), Diagnosis(label='pneumonia', cause_stated=False))
    """
    words = {word.strip() for word in re.split(r"[/,]", finding.lower())}
    for named, label in ((_COVID19, COVID19), (_VIRAL, VIRAL_PNEUMONIA), (_BACTERIAL, BACTERIAL_PNEUMONIA)):
        if words & named:
            return Diagnosis(label)
    if words & _OTHER_CAUSE:
        return Diagnosis(PNEUMONIA)
    if words & _NORMAL:
        return Diagnosis(NORMAL)
    return Diagnosis(PNEUMONIA, cause_stated=False) if PNEUMONIA in words else None


def labels_of(
    diagnosis: Diagnosis | None,
    notes: list[str],
    *,
    classes: Sequence[str] = COMPOSITE,
    known_absent: Collection[str] = (),
) -> dict[str, bool]:
    """Labels of a film with one diagnosis: its own True, the other `classes` False where it excludes them."""
    if diagnosis is None:
        notes.append("the source gives no diagnosis among its labels")
        return {}
    labels = {label: label == diagnosis.label for label in (*classes, diagnosis.label)}
    if not diagnosis.cause_stated:
        notes.append(_CAUSE_UNSTATED)
        labels = {label: here for label, here in labels.items() if label not in (VIRAL_PNEUMONIA, BACTERIAL_PNEUMONIA)}
    return labels | {label: False for label in known_absent if label != diagnosis.label}
