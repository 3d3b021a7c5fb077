"""What a network calls films of a class it was never shown."""

from pathlib import Path

import pandas as pd
import pytest

from hilum.index import Index
from hilum.report.pages import write_run_report
from hilum.run import EVERYWHERE, Run, train_run
from hilum.run.unseen import COLUMNS
from hilum.selection import select_films, unseen_films

pytest.importorskip("torch", reason="needs the extra hilum[train]")

STRIPED = '\n[unseen]\nstriped = ["striped"]\n'


@pytest.fixture(scope="module")
def with_striped(drawn: Index) -> Index:
    """The drawn films, the last twelve of them under a label of their own."""
    table = drawn.table.copy()
    striped = table.index >= len(table) - 12
    for label in ("patch", "plain"):
        table[f"label.{label}"] = table[f"label.{label}"].mask(striped, pd.NA)
    table["label.striped"] = pd.Series(striped, dtype="boolean")
    return Index(table=table, root=drawn.root)


@pytest.fixture(scope="module")
def ran(with_striped: Index, tiny_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose recipe names a class it never sees."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        text = tiny_recipe.replace("\n[split]", STRIPED + "\n[split]")
        return train_run(text, None, tmp_path_factory.mktemp("run"), given=with_striped, processes=1)


def test_unseen_films_are_scored_and_never_trained_on(ran: Run, with_striped: Index) -> None:
    unseen = ran.unseen
    assert unseen is not None
    assert list(unseen.columns) == COLUMNS
    everywhere = unseen[unseen["source"] == EVERYWHERE].set_index("called")
    assert set(everywhere.index) == {"patch", "plain"}
    assert everywhere["share"].sum() == pytest.approx(1.0)
    assert ((everywhere["low"] <= everywhere["share"]) & (everywhere["share"] <= everywhere["high"])).all()
    striped = set(with_striped.table["image_id"][with_striped.table["label.striped"].fillna(value=False)])
    assert not striped & set(ran.index.films["image_id"])
    trained = set(ran.index.films["group_id"])
    apart = with_striped.table[with_striped.table["image_id"].isin(striped)]
    assert everywhere["n_films"].iloc[0] == (~apart["group_id"].isin(trained)).sum()


def test_a_bright_square_is_still_called_a_patch(ran: Run, with_striped: Index, drawn: Index) -> None:
    table = drawn.table[drawn.table["image_id"].isin(unseen_films(ran.index, ran.recipe).films["image_id"])]
    expected = float(table["label.patch"].mean())
    unseen = ran.unseen
    assert unseen is not None
    called = unseen[(unseen["source"] == EVERYWHERE) & (unseen["called"] == "patch")]["share"].iloc[0]
    assert called == pytest.approx(expected, abs=0.35)


def test_a_film_left_out_for_another_reason_is_not_brought_back(ran: Run, with_striped: Index) -> None:
    table = with_striped.table.copy()
    table.loc[table.index[-1], "left_out"] = "unreadable"
    chosen = select_films(Index(table=table, root=with_striped.root), ran.recipe)
    found = unseen_films(chosen, ran.recipe)
    assert table["image_id"].iloc[-1] not in set(found.films["image_id"])
    assert len(found.films) == 11


def test_the_page_shows_them(ran: Run, tmp_path: Path) -> None:
    page = write_run_report(ran, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Classes never shown" in page
    assert "striped" in page
