"""Recipes whose lungs are drawn by hilum: the whole way from films without a mask to a prediction on a film alone."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.bundle import load_bundle
from hilum.cache import FrameCache
from hilum.compare import judge_runs, parse_vary, plan_variants, train_variants
from hilum.errors import DataError, UsageError
from hilum.fitting import DONE
from hilum.index import Index
from hilum.lungs import DRAWN_BY, UNDRAWN
from hilum.predict import lungs_for, predict_films
from hilum.preprocess import Preprocess
from hilum.projection import Look, ViewFilter, look_of
from hilum.recipe import changed
from hilum.run import Run, evaluate_elsewhere, train_run
from hilum.selection import TARGET


class Draws:
    """Lungs in two upright boxes, the patch in the right one; none on films whose lower right corner is bright."""

    preprocess = Preprocess(size_px=64, channels=1)
    threshold = 0.5
    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed

    def __init__(self, digest: str = "a1" * 32) -> None:
        self.digest = digest

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        inside = np.full(frames.shape, 0.01, np.float32)
        for number, frame in enumerate(frames):
            if frame[48:, 48:].mean() < 129.3:
                inside[number, 4:60, 4:30] = inside[number, 4:60, 36:60] = 0.99
        return inside[:, None]


class Gate(ViewFilter):
    """Takes every film whose lower left corner is dark for a lateral."""

    preprocess = Preprocess(size_px=64)  # type: ignore[assignment]
    digest = "c3" * 32  # type: ignore[assignment]

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        lateral = [float(frame[56:, :8].mean() < 78) for frame in frames]
        rest = {"frontal_inverted": 0.0, "lateral_inverted": 0.0, "other": 0.0}
        return [look_of({"lateral": share, "frontal": 1 - share, **rest}) for share in lateral]


@pytest.fixture(scope="module", autouse=True)
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the released bundle nor the released filter takes drawn squares for films."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patched.setattr("hilum.lungs.made.lungs_bundle", Draws)
        patched.setattr("hilum.lungs.made.ViewFilter", Gate)
        patched.setattr("hilum.predict.lungs_bundle", Draws)
        yield


@pytest.fixture(scope="module")
def recipe(tiny_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with two divisions, as a file."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(tiny_recipe.replace("folds = 3", "folds = 2"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def runs(recipe: Path, drawn: Index, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A comparison's runs by what they show of the films."""
    ways = ("none", "only", "not", "crop")
    variants = plan_variants([str(recipe)], parse_vary(["preprocess.masks=made", f"preprocess.lungs={','.join(ways)}"]))
    made = train_variants(variants, None, tmp_path_factory.mktemp("compare"), given=drawn, processes=1)
    assert judge_runs(variants, made).rows[1].differences is not None, "not paired, though on the same films"
    return dict(zip(ways, made, strict=True))


@pytest.fixture
def begun(runs: dict[str, Run], tmp_path: Path) -> Path:
    """A finished run, ready to lose files."""
    return Path(shutil.copytree(runs["only"].folder, tmp_path / "run"))


def expected(index: Index) -> dict[str, str]:
    """Film -> why no lung is drawn on it; empty where one is."""
    told = {}
    cache = FrameCache(Preprocess(size_px=64))
    cache.fill(index.films, index.root, processes=1)
    for name, frame in zip(index.films["image_id"], cache.view(index.films, index.root)[:], strict=True):
        refused = frame[56:, :8].mean() < 78
        told[name] = "lateral" if refused else "no lung" if frame[48:, 48:].mean() >= 129.3 else ""
    return told


def test_the_films_drawn_here_are_of_all_three_kinds(drawn: Index) -> None:
    assert {"lateral", "no lung", ""} == set(expected(drawn).values())


@pytest.mark.parametrize("way", ["none", "only", "not", "crop"])
def test_films_without_lungs_are_left_out_of_every_run_and_counted_by_class(
    runs: dict[str, Run], drawn: Index, way: str
) -> None:
    run, without = runs[way], {name for name, why in expected(drawn).items() if why}
    table = run.index.table.set_index("image_id")
    left_out = table["left_out"].fillna("")
    assert set(left_out.index[left_out == UNDRAWN]) == without
    counts = table[TARGET][left_out == UNDRAWN].value_counts()
    wanted = {name: int(counts.get(name, 0)) for name in ("patch", "plain")}
    assert run.account["lungs"] == {"bundle": "a1" * 32, "undrawn": wanted}
    assert json.loads((run.folder / "bundle" / "bundle.json").read_text())["provenance"]["lungs"]["bundle"] == "a1" * 32
    assert run.index.digest == runs["none"].index.digest
    assert set(run.index.films[DRAWN_BY]) == {"a1" * 32}


def test_the_patch_is_seen_inside_lungs_and_hardly_outside(runs: dict[str, Run]) -> None:
    def accuracy(way: str) -> float:
        table = runs[way].predictions
        return float(((table["p.patch"] >= 0.5) == (table["reference"] == "patch")).mean())

    assert accuracy("only") > 0.8
    assert accuracy("only") > accuracy("not") + 0.1


@pytest.mark.parametrize("way", ["only", "not", "crop"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_film_alone_is_predicted_as_its_run_s_cache_would_have_it(
    runs: dict[str, Run], drawn: Index, way: str, processes: int
) -> None:
    run = runs[way]
    bundle, films = load_bundle(run.folder), run.index.films
    cache = FrameCache(bundle.preprocess)
    cache.fill(films, run.index.root, processes=1)
    frames = cache.view(films, run.index.root)[:]
    wanted = dict(zip(films["image_id"], bundle.probabilities(bundle.logits(frames))[:, 0], strict=True))
    paths = [drawn.path(path) for path in drawn.films["path"]]
    told = list(predict_films(bundle, paths, processes=processes, gate=Gate()))
    assert [one.film for one in told] == [str(path) for path in paths]
    for name, path, one in zip(drawn.films["image_id"], paths, told, strict=True):
        why = expected(drawn)[name]
        if why:
            looks = f"{path.name} looks like a lateral film (p = 1.00)"
            seen = looks if why == "lateral" else f"no lung is found on {path.name}"
            assert one.refusal == f"not applicable: {seen}"
        else:
            assert one.findings[0].probability == pytest.approx(wanted[name], abs=1e-5)


def test_what_cannot_be_read_is_a_refusal_in_its_place(runs: dict[str, Run], drawn: Index, tmp_path: Path) -> None:
    good = drawn.path(drawn.films["path"].iloc[0])
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:200])
    told = list(predict_films(load_bundle(runs["only"].folder), [tmp_path / "torn.png", tmp_path / "gone.png"]))
    assert [(one.refusal or "").partition(":")[0] for one in told] == ["truncated", "not found"]


def test_a_bundle_that_shows_whole_films_needs_no_lungs_to_predict(
    runs: dict[str, Run], drawn: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.predict.lungs_bundle", None)
    (told,) = predict_films(load_bundle(runs["none"].folder), [drawn.path(drawn.films["path"].iloc[0])])
    assert told.refusal is None


def test_lungs_of_another_bundle_are_refused_before_any_film(runs: dict[str, Run], drawn: Index) -> None:
    bundle, other = load_bundle(runs["only"].folder), Draws("b2" * 32)
    says = (
        r"taught with lungs that bundle a1a1a1a1a1a1 drew, and those at hand are drawn by b2b2b2b2b2b2.*train it again"
    )
    with pytest.raises(UsageError, match=says):
        next(iter(predict_films(bundle, [Path("film.png")], lungs=other)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="bundle unknown drew"):
        lungs_for(dataclasses.replace(bundle, provenance={}))


def test_other_films_are_scored_inside_the_same_lungs(
    runs: dict[str, Run], draw_index: Callable[..., Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = draw_index(tmp_path, 24, first_seed=5000, source="elsewhere")
    evaluation, left_out = evaluate_elsewhere(runs["only"], other)
    without = [why for why in expected(other).values() if why]
    assert (left_out == UNDRAWN).sum() == len(without) > 0
    assert evaluation.n_films == 24 - len(without)
    assert evaluation.floors, "the run's own lungs are still at hand"
    monkeypatch.setattr("hilum.predict.lungs_bundle", lambda: Draws("b2" * 32))
    with pytest.raises(UsageError, match="b2b2b2b2b2b2"):
        evaluate_elsewhere(runs["only"], other)


def test_an_interrupted_run_goes_on_and_draws_again_what_was_thrown_away(begun: Path, drawn: Index) -> None:
    before = Run(begun).predictions
    text = Run(begun).recipe_text
    for file in (begun / "run.json", next(begun.glob(f"divisions/*/{DONE}"))):
        file.unlink()
    for mask in {Path(mask) for mask in Run(begun).index.films["lung_mask"]}:
        mask.unlink()
    again = train_run(text, None, begun, given=drawn, processes=1)
    pd.testing.assert_frame_equal(again.predictions, before, check_exact=False, atol=1e-4)


def test_a_run_does_not_go_on_with_other_lungs_or_other_films(
    begun: Path, drawn: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Run(begun).recipe_text
    (begun / "run.json").unlink()
    some = drawn.leave_out(drawn.table["image_id"] == drawn.table["image_id"].iloc[3], "tried")
    with pytest.raises(UsageError, match="holds a run on other films"):
        train_run(text, None, begun, given=some, processes=1)
    monkeypatch.setattr("hilum.lungs.made.lungs_bundle", lambda: Draws("b2" * 32))
    with pytest.raises(UsageError, match="begun with lungs that another bundle drew"):
        train_run(text, None, begun, given=drawn, processes=1)


def test_a_class_without_any_lungs_is_said(
    recipe: Path, drawn: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing(Draws):
        def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros((len(frames), 1, 64, 64), np.float32)

    monkeypatch.setattr("hilum.lungs.made.lungs_bundle", lambda: Nothing("d4" * 32))
    text = changed(recipe.read_text(), {"preprocess.masks": "made"})
    with pytest.raises(DataError, match=rf"'patch' has no film left; .* most often because: {UNDRAWN}"):
        train_run(text, None, tmp_path / "run", given=drawn, processes=1)
    assert not (tmp_path / "run" / "index.parquet").exists()
