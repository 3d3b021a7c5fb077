"""Predictions as a table for a terminal and as a CSV."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from hilum.console import table
from hilum.files import written_aside
from hilum.records import Prediction


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """A row a film: decision and probabilities, or why it was refused."""
    rows = []
    for prediction in predictions:
        said = "  ".join(f"{finding.label} {finding.probability:.3f}" for finding in prediction.findings)
        rows.append((prediction.film, prediction.decided or "refused", prediction.refusal or said))
    return table("", ["film", "decided", "probabilities, or the reason"], rows)


def write_predictions(predictions: Sequence[Prediction], classes: Sequence[str], path: Path) -> None:
    """A CSV with a row a film: film, decided, `p.CLASS`, `threshold.CLASS`, refused, bundle."""
    rows = []
    for prediction in predictions:
        row: dict[str, object] = {"film": prediction.film, "decided": prediction.decided}
        row |= {f"p.{finding.label}": finding.probability for finding in prediction.findings}
        row |= {f"threshold.{finding.label}": finding.threshold for finding in prediction.findings}
        rows.append(row | {"refused": prediction.refusal, "bundle": prediction.bundle_digest})
    columns = ["film", "decided", *(f"{kind}.{name}" for kind in ("p", "threshold") for name in classes)]
    with written_aside(path) as aside:
        pd.DataFrame(rows, columns=[*columns, "refused", "bundle"]).to_csv(aside, index=False)


def predictions_summary(predictions: Sequence[Prediction], path: Path) -> Text:
    """How many films were decided as what, how many refused, and where the rows are."""
    counts = Counter(prediction.decided or "refused" for prediction in predictions)
    said = ", ".join(f"{number} {label}" for label, number in counts.most_common())
    return Text(f"{len(predictions)} films: {said}; a row each in {path}")
