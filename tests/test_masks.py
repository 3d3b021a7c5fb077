"""Lung masks: what is hidden is exactly 0 and has no say in what is shown; another mask makes another frame."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.cache import FrameCache
from hilum.errors import DataError
from hilum.files import sha256_file
from hilum.pixels import read_film
from hilum.preprocess import Preprocess

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

STEPS = ("clahe", "min-max", "zscore", "agcwd", "adaptive-median", "non-local-means", "local-phase")


def noise(seed: int = 0, height: int = 150, width: int = 130) -> Pixels:
    """(H, W) in [.05, .95]: nothing in it is black."""
    return np.random.default_rng(seed).uniform(0.05, 0.95, (height, width)).astype(np.float32)


def lungs(height: int = 150, width: int = 130) -> Mask:
    """Two ellipses, neither at the border."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    left = ((y - 0.5) / 0.33) ** 2 + ((x - 0.3) / 0.17) ** 2 < 1
    return left | (((y - 0.47) / 0.37) ** 2 + ((x - 0.72) / 0.19) ** 2 < 1)


def shrunk(mask: Mask, size: int) -> Mask:
    """Where half of a frame's pixel or more is lung."""
    return cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) >= 0.5


@pytest.mark.parametrize("steps", [(), *((step,) for step in STEPS)], ids=lambda steps: "".join(steps) or "none")
def test_only_lungs_are_shown_and_all_but_lungs(steps: tuple[str, ...]) -> None:
    inside = shrunk(lungs(), 64)
    only = Preprocess(size_px=64, lungs="only", steps=steps).frame(noise(), lungs())
    rest = Preprocess(size_px=64, lungs="not", steps=steps).frame(noise(), lungs())
    assert not only[~inside].any()
    assert not rest[inside].any()
    assert np.ptp(only[inside]) > 20
    assert np.ptp(rest[~inside]) > 20


@pytest.mark.parametrize("kept", ["only", "not"])
@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("steps", [(), *((step,) for step in STEPS)], ids=lambda steps: "".join(steps) or "none")
def test_what_is_hidden_has_no_say_in_what_is_shown(kept: Any, size: int, steps: tuple[str, ...]) -> None:
    """Films that agree in what is shown make one frame, larger or smaller than the film: not even edges are mixed."""
    preprocess = Preprocess(size_px=size, lungs=kept, steps=steps)
    shown = lungs() if kept == "only" else ~lungs()
    others = [np.where(shown, noise(), hidden).astype(np.float32) for hidden in (noise(1), 0.0, 1.0)]
    wanted = preprocess.frame(noise(), lungs())
    assert all(np.array_equal(preprocess.frame(other, lungs()), wanted) for other in others)


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 200), st.integers(40, 200), st.integers(1, 9), st.sampled_from(["stretch", "pad"]))
def test_an_even_film_stays_even_up_to_the_mask_s_edge(height: int, width: int, tenths: int, aspect: Any) -> None:
    film = np.full((height, width), tenths / 10, np.float32)
    for kept in ("only", "not"):
        frame = Preprocess(size_px=64, lungs=kept, aspect=aspect).frame(film, lungs(height, width))  # type: ignore[arg-type]
        assert np.abs(frame[frame > 0].astype(float) - 25.5 * tenths).max() <= 1


def test_a_mask_may_be_larger_or_smaller_than_its_film() -> None:
    frames = [
        Preprocess(size_px=64, lungs="only").frame(np.ones((150, 130), np.float32), lungs(side, side)) > 0
        for side in (75, 150, 600)
    ]
    assert all((frame != frames[0]).mean() < 0.03 for frame in frames)


@pytest.mark.parametrize("aspect", ["stretch", "pad"])
def test_a_crop_is_the_mask_s_bounding_box(aspect: Any) -> None:
    mask = np.zeros((150, 130), bool)
    mask[20, 40], mask[99, 60], mask[50, 30], mask[60, 109] = True, True, True, True
    plain = Preprocess(size_px=64, aspect=aspect)
    cropped = plain.model_copy(update={"lungs": "crop"}).frame(noise(), mask)
    assert np.array_equal(cropped, plain.frame(noise()[20:100, 30:110]))


def test_a_black_border_is_cut_from_film_and_mask_alike() -> None:
    film, mask = np.zeros((190, 170), np.float32), np.zeros((190, 170), bool)
    film[20:170, 30:160], mask[20:170, 30:160] = noise(), lungs()
    bordered = Preprocess(size_px=64, lungs="only", steps=("crop-black",)).frame(film, mask)
    assert np.array_equal(bordered, Preprocess(size_px=64, lungs="only").frame(noise(), lungs()))


@pytest.mark.parametrize("kept", ["crop", "only", "not"])
def test_a_film_without_lungs_is_refused(kept: Any) -> None:
    preprocess = Preprocess(size_px=64, lungs=kept)
    assert preprocess.masked
    with pytest.raises(DataError, match=r"^there is no lung mask of it$"):
        preprocess.frame(noise())
    with pytest.raises(DataError, match=r"^its lung mask is empty$"):
        preprocess.frame(noise(), np.zeros((150, 130), bool))


def test_without_need_a_mask_changes_nothing() -> None:
    preprocess = Preprocess(size_px=64)
    assert not preprocess.masked
    assert np.array_equal(preprocess.frame(noise(), lungs()), preprocess.frame(noise()))


def test_the_digest_names_masks_and_steps() -> None:
    told: list[dict[str, Any]] = [{}, {"lungs": "crop"}, {"lungs": "only"}, {"lungs": "not"}]
    told += [{"steps": ("clahe",)}, {"steps": ("clahe:clip=3",)}, {"steps": ("clahe", "min-max")}]
    assert len({Preprocess(**parts).geometry_digest for parts in told}) == len(told)
    assert Preprocess(steps=("clahe:clip=2",)).geometry_digest == Preprocess(steps=("clahe",)).geometry_digest


@pytest.mark.parametrize("kept", ["none", "crop", "only", "not"])
def test_whose_masks_they_are_changes_no_frame(kept: Any) -> None:
    """Frames are kept by the mask's own hash, so that one mask makes one frame, whoever drew it."""
    given, made = Preprocess(size_px=64, lungs=kept), Preprocess(size_px=64, lungs=kept, masks="made")
    assert given.geometry_digest == made.geometry_digest
    assert (given.masked, given.decoded_px) == (made.masked, made.decoded_px)
    assert np.array_equal(given.frame(noise(), lungs()), made.frame(noise(), lungs()))


# Frames of films with masks, from disk


@pytest.fixture
def films(tmp_path: Path) -> pd.DataFrame:
    """Two films, each with a mask of its own."""
    rows = []
    for number in range(2):
        film, mask = f"{number}.png", f"mask-{number}.png"
        write(tmp_path / film, noise(number))
        write(tmp_path / mask, lungs() if number else lungs()[::-1])
        rows.append({"path": film, "sha256": sha256_file(tmp_path / film), "lung_mask": mask})
    return pd.DataFrame(rows)


def write(path: Path, picture: NDArray[Any]) -> None:
    cv2.imwrite(str(path), np.rint(picture * 255.0).astype(np.uint8))


ONLY = Preprocess(size_px=32, lungs="only")


def test_frames_are_made_with_their_own_masks(films: pd.DataFrame, tmp_path: Path) -> None:
    cache = FrameCache(ONLY)
    assert cache.fill(films, tmp_path, processes=1) == 2
    made = cache.view(films.iloc[::-1], tmp_path)[:]
    for frame, number in zip(made, (1, 0), strict=True):
        film, mask = (read_film(tmp_path / films[name][number]).pixels for name in ("path", "lung_mask"))
        assert np.array_equal(frame, ONLY.frame(film, mask > 0.5))
    assert FrameCache(ONLY).fill(films, tmp_path, processes=1) == 0


def test_another_mask_makes_another_frame(films: pd.DataFrame, tmp_path: Path) -> None:
    cache = FrameCache(ONLY)
    cache.fill(films, tmp_path, processes=1)
    before = cache.view(films, tmp_path)
    write(tmp_path / "mask-0.png", lungs()[:, ::-1])
    again = FrameCache(ONLY)
    assert again.fill(films, tmp_path, processes=1) == 1
    after = again.view(films, tmp_path)
    assert (after.keys[0] != before.keys[0], after.keys[1] == before.keys[1]) == (True, True)
    assert not np.array_equal(after[:][0], before[:][0])


def test_one_film_under_two_masks_makes_two_frames(films: pd.DataFrame, tmp_path: Path) -> None:
    both = films.assign(path=films["path"][0], sha256=films["sha256"][0])
    assert FrameCache(ONLY).fill(both, tmp_path, processes=1) == 2
    assert FrameCache(Preprocess(size_px=32)).fill(both, tmp_path, processes=1) == 1, "where masks do not matter, one"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("none", "there is no lung mask of it"),
        ("empty", "its lung mask: constant: mask-0.png"),
        ("gone", "its lung mask: .*mask-0.png"),
        ("broken", "its lung mask: .*mask-0.png"),
    ],
)
def test_a_mask_that_cannot_be_used_is_said_in_one_sentence(
    films: pd.DataFrame, tmp_path: Path, damage: str, says: str
) -> None:
    match damage:
        case "none":
            films.loc[0, "lung_mask"] = pd.NA
        case "empty":
            write(tmp_path / "mask-0.png", np.zeros((150, 130)))
        case "gone":
            (tmp_path / "mask-0.png").unlink()
        case _:
            (tmp_path / "mask-0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=rf"^film 0\.png is not as it was indexed \({says}.*\); run hilum index again$"):
        FrameCache(ONLY).fill(films, tmp_path, processes=1)
