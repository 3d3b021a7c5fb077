"""Published figures beside ours: only what was really run has a figure."""

from pathlib import Path

import pandas as pd
import pytest

from hilum.index import Index
from hilum.recipe import parse_recipe, shipped
from hilum.reproduce import Outcome, Plan, Published, load_published, reproduce, reproduction_page, reproduction_table
from hilum.reproduce import running as module
from hilum.run import Run, train_run

pytest.importorskip("torch", reason="needs the extra hilum[train]")

MACHINE = {"system": "Linux", "processor": "a processor", "cores": "2"}


def row(recipe: str, **told: object) -> Published:
    """A published figure of a made-up system."""
    return Published.model_validate(
        {"system": "made-up", "asked": "what", "metric": "accuracy", "recipe": recipe} | told
    )


@pytest.fixture
def ours(drawn: Index, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """Makes every run one on drawn films; returns its recipe's file and the folders that were asked for."""
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_recipe)
    asked: list[str] = []

    def on_drawn(text: str, _root: Path, out: Path, **told: object) -> Run:
        asked.append(out.name)
        return train_run(text, None, out, given=drawn, processes=1)

    monkeypatch.setattr(module, "train_run", on_drawn)
    return file, asked


@pytest.mark.parametrize(("published", "plan", "instead"), load_published(), ids=lambda _: "")
def test_every_figure_names_runs_that_exist(published: Published, plan: Plan, instead: Plan | None) -> None:
    for one in (plan, instead):
        if one is None:
            continue
        assert one.recipe in shipped()
        recipe = parse_recipe(one.text)
        if published.label and not published.metric.startswith("called:"):
            assert published.label in recipe.classes
        if published.metric.startswith("called:"):
            assert published.shown in recipe.unseen
            assert published.metric.removeprefix("called:") in recipe.classes
    assert (published.value is None) == (published.n is None)


def test_a_run_is_made_once_and_read_for_all_its_figures(ours: tuple[Path, list[str]], tmp_path: Path) -> None:
    file, asked = ours
    plan = Plan(recipe=str(file), changes={"schedule.epochs": "4"})
    rows = [
        (row(str(file), value=0.9, n=10), plan, None),
        (row(str(file), metric="recall", label="patch", value=0.8, n=5), plan, None),
    ]
    outcomes = reproduce(rows, tmp_path, tmp_path / "out")
    assert len(asked) == 1
    table = reproduction_table(outcomes)
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    tested = [score for score in Run(folder).evaluation.scores if score.fold == "test" and not score.at]
    scores = {(score.metric, score.label): score for score in tested}
    assert table["value"].tolist() == [scores["accuracy", None].value, scores["recall", "patch"].value]
    assert (table["low"] <= table["value"]).all()
    assert table["floor"].notna().all()
    page = reproduction_page(outcomes, MACHINE)
    assert "0.9 (n = 10)" in page
    assert "schedule.epochs = 4" in page
    assert "Not run" not in page


def test_without_the_weights_the_stand_in_runs_and_without_it_the_reason_stands(
    ours: tuple[Path, list[str]], tmp_path: Path
) -> None:
    file, _ = ours
    far = tmp_path / "far.toml"
    far.write_text(file.read_text().replace('"random"', '"cache"').replace("test_resnet", "resnet50"))
    rows = [
        (row(str(far), value=0.9, n=10), Plan(recipe=str(far)), Plan(recipe=str(file))),
        (row(str(far), value=0.7, n=10, asked="something else"), Plan(recipe=str(far)), None),
    ]
    outcomes = reproduce(rows, tmp_path, tmp_path / "out")
    assert [outcome.ours is None for outcome in outcomes] == [False, True]
    assert outcomes[0].plan.recipe == str(file)
    assert "no weights of 'resnet50'" in str(outcomes[1].why_not)
    page = reproduction_page(outcomes, MACHINE)
    before, _, after = page.partition("## Not run")
    assert "0.7 (n = 10)" in after
    assert "0.7 (n = 10)" not in before
    assert len(reproduction_table(outcomes)) == 1


def test_nothing_run_is_an_empty_table_and_a_page_that_says_so() -> None:
    outcome = Outcome(
        published=row("demo", value=0.5, n=2), plan=Plan(recipe="demo"), why_not=("demo: no films; get some",)
    )
    page = reproduction_page([outcome], MACHINE)
    assert "| made-up | what | accuracy | 0.5 (n = 2) | demo: no films |" in page
    assert isinstance(reproduction_table([outcome]), pd.DataFrame)
    assert reproduction_table([outcome]).empty
