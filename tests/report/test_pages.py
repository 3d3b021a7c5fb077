import shutil
from pathlib import Path

import pytest

from hilum.errors import UsageError
from hilum.records import DISCLAIMER
from hilum.report.films import SIDE_PX
from hilum.report.pages import example_films, gather, write_figures, write_run_report
from hilum.run import Run


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    assert write_run_report(Run(finished), out) == out
    return out.read_text(encoding="utf-8")


def test_the_page_is_written_into_the_run_unless_told_where(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert write_run_report(Run(run)) == run / "report.html"
    assert (run / "report.html").stat().st_size > 10_000


def test_the_page_shows_the_run_s_own_figures(page: str, finished: Path) -> None:
    run = Run(finished)
    assert run.recipe.title in page
    assert DISCLAIMER in page
    assert run.recipe.digest[:8] in page
    assert run.account["versions"]["torch"] in page
    auroc = next(score for score in run.evaluation.scores if score.metric == "auroc" and score.fold == "test")
    assert auroc.value is not None
    assert f"{auroc.value:.3f}" in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert 'src="http' not in page
    assert "<link" not in page
    assert "@import" not in page


def test_what_the_page_shows_is_read_from_the_folder(finished: Path) -> None:
    told = gather(Run(finished))
    assert told.recipe_toml == (finished / "recipe.toml").read_text()
    assert len(told.predictions) == 48
    assert set(told.history["division"]) == {0, 1, 2}
    assert told.left_out.empty
    assert not any("no longer readable" in warning for warning in told.warnings)


def test_examples_are_films_with_their_mean_probability(finished: Path) -> None:
    run = Run(finished)
    examples, unread = example_films(run.index, run.predictions, run.recipe.class_names)
    assert unread == 0
    assert examples
    means = run.predictions.groupby("image_id")[["p.patch", "p.plain"]].mean()
    for example in examples:
        assert example.image_id in means.index
        assert example.probability == pytest.approx(means.loc[example.image_id].max())
        assert example.pixels.ndim == 2
        assert max(example.pixels.shape) >= min(SIDE_PX, 80)


def test_films_that_went_away_are_counted_not_invented(finished: Path) -> None:
    run = Run(finished)
    index = run.index
    table = index.table.assign(path="gone/" + index.table["path"])
    moved = type(index)(table, index.root)
    examples, unread = example_films(moved, run.predictions, run.recipe.class_names)
    assert not examples
    assert unread > 0


def test_figures_are_files_of_their_own(finished: Path, tmp_path: Path) -> None:
    written = write_figures(Run(finished), tmp_path)
    assert {"floors", "roc", "confusion", "learning"} <= {path.stem for path in written}
    for path in written:
        assert path.read_text(encoding="utf-8").lstrip().startswith("<svg")


def test_an_unfinished_run_has_no_page(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "evaluation.json").unlink()
    with pytest.raises(UsageError, match=r"not finished: evaluation\.json is missing"):
        write_run_report(Run(run))
    assert not (run / "report.html").exists()
