import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from hilum.predict_job import row_of
from hilum.records import Finding, Prediction
from hilum.report.predictions import predictions_summary, predictions_table, write_predictions

CLASSES = ("covid19", "normal")


@pytest.fixture
def predictions() -> list[Prediction]:
    findings = (
        Finding(label="covid19", probability=0.75, threshold=0.4),
        Finding(label="normal", probability=0.25, threshold=None),
    )
    return [
        Prediction(film="a.png", bundle_digest="d1", decided="covid19", findings=findings),
        Prediction(film="b,c.png", bundle_digest="d1", refusal="it is no film, but a letter"),
        Prediction(film="[red]d[/red].png", bundle_digest="d1", decided="covid19", findings=findings),
    ]


def test_a_row_a_film_in_the_order_given(predictions: list[Prediction], tmp_path: Path) -> None:
    write_predictions(map(row_of, predictions), CLASSES, tmp_path / "out" / "p.csv")
    table = pd.read_csv(tmp_path / "out" / "p.csv")
    columns = ["film", "decided", "p.covid19", "p.normal", "threshold.covid19", "threshold.normal", "refused", "bundle"]
    assert list(table.columns) == columns
    assert table["film"].tolist() == ["a.png", "b,c.png", "[red]d[/red].png"]
    assert table["p.covid19"].tolist()[::2] == [0.75, 0.75]
    assert table.loc[1, ["decided", "p.covid19", "p.normal"]].isna().all()
    assert table.loc[1, "refused"] == "it is no film, but a letter"
    assert table["refused"].isna().tolist() == [True, False, True]
    assert set(table["bundle"]) == {"d1"}


def test_refusals_only_still_have_every_column(predictions: list[Prediction], tmp_path: Path) -> None:
    write_predictions(map(row_of, predictions[1:2]), CLASSES, tmp_path / "p.csv")
    assert len(pd.read_csv(tmp_path / "p.csv").columns) == 8
    write_predictions([], CLASSES, tmp_path / "none.csv")
    assert pd.read_csv(tmp_path / "none.csv").empty


def _shown(thing: object) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


def test_the_terminal_shows_decisions_refusals_and_odd_names_as_they_are(predictions: list[Prediction]) -> None:
    told = _shown(predictions_table(predictions))
    assert "covid19 0.750  normal 0.250" in told
    assert "refused" in told
    assert "it is no film, but a letter" in told
    assert "[red]d[/red].png" in told


def test_the_summary_counts(predictions: list[Prediction]) -> None:
    told = _shown(predictions_summary([one.decided for one in predictions], Path("p.csv")))
    assert told.strip() == "3 films: 2 covid19, 1 refused; a row each in p.csv"
