"""Masks that teach: read strictly, one clear sentence for every bad one, and the same geometry as their films."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, UsageError
from hilum.files import sha256_file
from hilum.masks import MaskCache, film_sized, mask_frame, read_mask
from hilum.preprocess import Mask, Preprocess

HIGH, WIDE = 60, 80


def disc(high: int = HIGH, wide: int = WIDE, *, share: float = 0.3) -> Mask:
    """An ellipse in the middle."""
    y, x = np.mgrid[-1 : 1 : complex(high), -1 : 1 : complex(wide)]
    return np.asarray(x**2 + y**2 < share * 4 / np.pi)


def written(path: Path, stored: Any) -> Path:
    cv2.imwrite(str(path), np.asarray(stored, np.uint8))
    return path


@pytest.mark.parametrize("top", [1, 128, 255])
def test_a_mask_of_two_levels_is_read_as_drawn(tmp_path: Path, top: int) -> None:
    mask = read_mask(written(tmp_path / "m.png", top * disc()), (HIGH, WIDE))
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, disc())


BAD: dict[str, tuple[Any, str]] = {
    "off by one": (255 * disc(HIGH, WIDE + 1), r"81 x 60 pixels but its film 80 x 60.*never resized"),
    "other size": (255 * disc(40, 48), r"48 x 40 pixels but its film 80 x 60"),
    "turned": (255 * disc(WIDE, HIGH), r"60 x 80 pixels but its film 80 x 60"),
    "empty": (np.zeros((HIGH, WIDE)), r"is empty: no pixel of it is inside"),
    "colour": (np.stack([255 * disc()] * 3, -1), r"PNG in mode RGB; give a grey PNG"),
    "a film": (np.arange(HIGH * WIDE).reshape(HIGH, WIDE) % 256, r"holds 256 grey levels from 0 to 255"),
    "no outside": (np.where(disc(), 255, 10), r"holds 2 grey levels from 10 to 255"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_mask_is_refused_with_its_name_and_what_is_wrong(tmp_path: Path, kind: str) -> None:
    stored, says = BAD[kind]
    with pytest.raises(DataError, match=rf"^the mask m\.png.*{says}"):
        read_mask(written(tmp_path / "m.png", stored), (HIGH, WIDE))


def test_what_is_no_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png cannot be read"):
        read_mask(tmp_path / "text.png", (HIGH, WIDE))
    written(tmp_path / "m.jpg", 255 * disc())
    with pytest.raises(DataError, match=r"m\.jpg is JPEG"):
        read_mask(tmp_path / "m.jpg", (HIGH, WIDE))


def test_an_empty_mask_may_be_meant(tmp_path: Path) -> None:
    path = written(tmp_path / "m.png", np.zeros((HIGH, WIDE)))
    assert not read_mask(path, (HIGH, WIDE), may_be_empty=True).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.sampled_from(["stretch", "pad"]))
def test_a_mask_goes_where_its_film_goes_and_comes_back(high: int, wide: int, aspect: Any) -> None:
    preprocess = Preprocess(size_px=96, channels=1, aspect=aspect)
    mask = disc(high, wide)
    inside = mask_frame(preprocess, mask)
    assert np.array_equal(inside, preprocess.frame(mask.astype(np.float32)) >= 128)
    back = film_sized(preprocess, inside.astype(np.float32), (high, wide)) >= 0.5
    assert back.shape == mask.shape
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.95


@pytest.mark.parametrize("told", [{"lungs": "only"}, {"steps": ("crop-black",)}], ids=["masked", "cropped"])
def test_a_preprocess_that_a_mask_cannot_follow_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"reads whole films"):
        MaskCache(Preprocess(size_px=64, **told))


def _films(folder: Path, masks: list[Mask]) -> tuple[pd.DataFrame, list[Path]]:
    rows, paths = [], []
    for number, mask in enumerate(masks):
        path = written(folder / f"{number}.png", 255 * mask)
        paths.append(path)
        rows.append({"sha256": sha256_file(path), "height": mask.shape[0], "width": mask.shape[1]})
    return pd.DataFrame(rows), paths


def test_the_cache_reads_a_mask_once_and_another_one_anew(tmp_path: Path) -> None:
    films, paths = _films(tmp_path, [disc(share=share) for share in (0.2, 0.3)])
    preprocess = Preprocess(size_px=64, channels=1)
    assert MaskCache(preprocess).fill(films, paths, processes=1) == 2
    cache = MaskCache(preprocess)
    assert cache.fill(films, paths, processes=1) == 0
    frames = cache.view(films, paths)[:]
    wanted = np.stack([mask_frame(preprocess, disc(share=share)) for share in (0.2, 0.3)])
    assert np.array_equal(frames, wanted)
    written(paths[0], 255 * disc(share=0.1))
    again = MaskCache(preprocess)
    assert again.fill(films, paths, processes=1) == 1
    assert again.view(films, paths)[:][0].sum() < frames[0].sum()


def test_the_cache_names_the_mask_it_cannot_use(tmp_path: Path) -> None:
    films, paths = _films(tmp_path, [disc(), disc()])
    written(paths[1], 255 * disc(HIGH + 1))
    with pytest.raises(DataError, match=r"the mask 1\.png is 80 x 61 pixels but its film 80 x 60"):
        MaskCache(Preprocess(size_px=64)).fill(films, paths, processes=1)
    paths[1].unlink()
    with pytest.raises(DataError, match=r"the mask 1\.png is missing"):
        MaskCache(Preprocess(size_px=64)).fill(films, paths, processes=1)
