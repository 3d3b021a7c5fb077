"""The table of floors: an AUROC is never shown where an accuracy is meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from hilum.run import Run

pytest.importorskip("torch", reason="needs the extra hilum[train]")


def test_a_floor_s_accuracy_stands_beside_its_auroc(finished: Path) -> None:
    from hilum.report.tables import of_floors

    evaluation = Run(finished).evaluation
    header = next(floor for floor in evaluation.floors if floor.metric == "floor.header")
    accuracy = replace(header, metric="floor.header.accuracy", value=0.125, low=0.1, high=0.15)
    grid = of_floors(replace(evaluation, floors=(header, accuracy)))
    assert len(grid.rows) == 1
    assert grid.rows[0][grid.head.index("accuracy")].startswith("0.125")
    assert "0.125" not in grid.rows[0][grid.head.index("AUROC")]
