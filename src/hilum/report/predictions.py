"""Predictions as a table for a terminal and as a CSV."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from hilum.console import table
from hilum.files import written_aside
from hilum.parallel import in_batches
from hilum.records import Prediction

REFUSED_FILMS = "refused.csv"
"""Beside parts that are kept."""
ROWS_AT_ONCE = 1000
"""That are in memory when a table is written."""


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """A row a film: decision and probabilities, or why it was refused."""
    rows = []
    for prediction in predictions:
        said = "  ".join(f"{finding.label} {finding.probability:.3f}" for finding in prediction.findings)
        rows.append((prediction.film, prediction.decided or "refused", prediction.refusal or said))
    return table("", ["film", "decided", "probabilities, or the reason"], rows)


def write_predictions(rows: Iterable[Mapping[str, Any]], classes: Sequence[str], path: Path) -> None:
    """A CSV with a line for every row of `predict_job.row_of`; gone through once, a few at a time."""
    import pandas as pd  # half a second, for those who write a table only

    columns = ["film", "decided", *(f"{kind}.{name}" for kind in ("p", "threshold") for name in classes)]
    columns += ["refused", "bundle"]
    with written_aside(path) as aside:
        pd.DataFrame(columns=columns).to_csv(aside, index=False)
        for some in in_batches(rows, ROWS_AT_ONCE):
            pd.DataFrame(some, columns=columns).to_csv(aside, index=False, header=False, mode="a")


def write_refused(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """A CSV with a line for every row of a film that was refused, `film` and `reason`."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["film", "reason"])
        writer.writerows([row["film"], row["refused"]] for row in rows if row["refused"] is not None)


def predictions_summary(decided: Iterable[str | None], path: Path | str) -> Text:
    """How many films were decided as what, how many refused, which is None, and where the rows are."""
    counts = Counter(one or "refused" for one in decided)
    said = ", ".join(f"{number} {label}" for label, number in counts.most_common())
    return Text(f"{counts.total()} films: {said}; a row each in {path}")
