"""Finding lists as BIMCV's annotators write them, in PadChest and in both COVID-19 sets.

A cell is a Python list of lower-case terms, "['pneumonia', 'pleural effusion']", from a tree of 174 findings, 19
diagnoses and 104 places. Whole reports were annotated, so of the findings listed in `ASSESSED` one that is not named
is False; any other term named becomes True where it occurs and is unassessed elsewhere.
"""

import ast
from collections.abc import Iterable

from hilum.records import NORMAL, PNEUMONIA
from hilum.sources.fields import snake

ASSESSED = (
    "pneumonia",
    "infiltrates",
    "consolidation",
    "interstitial pattern",
    "ground glass pattern",
    "alveolar pattern",
    "atelectasis",
    "pleural effusion",
    "pneumothorax",
    "pulmonary edema",
    "cardiomegaly",
    "nodule",
    "pulmonary mass",
    "emphysema",
    "pulmonary fibrosis",
    "hiatal hernia",
    "tuberculosis",
)
LABELS = (NORMAL, *map(snake, ASSESSED))
_NO_JUDGEMENT = frozenset({"exclude", "unchanged", "suboptimal study"})


def terms_of(cell: str, notes: list[str]) -> list[str]:
    """The terms in a cell, stripped, blanks left out; none and a note if the cell is not a list."""
    try:
        parsed = ast.literal_eval(cell) if cell else []
    except (ValueError, SyntaxError):
        parsed = None
    if not isinstance(parsed, list):
        notes.append("the finding list is unreadable")
        return []
    return [str(term).strip().lower() for term in parsed if str(term).strip()]


def labels_of_terms(terms: Iterable[str], notes: list[str]) -> dict[str, bool]:
    """Labels of a film whose report was annotated with `terms`; none where the terms judge nothing."""
    named = set(terms)
    if not named - _NO_JUDGEMENT:
        notes.append("the report judges nothing (unchanged, excluded, suboptimal or blank); no label is set")
        return {}
    named -= _NO_JUDGEMENT
    labels = {snake(term): term in named for term in ASSESSED}
    # Kinds of pneumonia are branches below it in the tree and listed alone.
    labels[PNEUMONIA] = any(term.endswith("pneumonia") for term in named)
    if NORMAL in named and len(named) > 1:
        notes.append("the report is annotated as normal and with findings; normal is left out")
        return labels | {snake(term): True for term in named if term != NORMAL}
    return labels | {snake(term): True for term in named} | {NORMAL: NORMAL in named}
