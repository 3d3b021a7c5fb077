"""Frames are the same whole numbers everywhere; normalising gives what the network was trained with."""

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hilum.preprocess import Preprocess


def film(height: int = 300, width: int = 200) -> np.ndarray:
    """(H, W) float32 whose lines of equal grey are oblique, from 0 to 1."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    return (0.7 * y + 0.3 * x).astype(np.float32)


@pytest.mark.parametrize(("bits", "dtype", "top"), [(8, np.uint8, 255), (16, np.uint16, 65535)])
@pytest.mark.parametrize("size", [224, 299, 331, 600])
def test_frames_are_whole_numbers_of_the_size_asked_for(bits: Any, dtype: type, top: int, size: int) -> None:
    preprocess = Preprocess(size_px=size, depth_bits=bits)
    frame = preprocess.frame(film())
    assert frame.shape == (size, size)
    assert frame.dtype == dtype == preprocess.dtype
    assert frame.max() == pytest.approx(top, rel=0.01)
    assert preprocess.frame(np.ones((50, 50), np.float32)).min() == top
    assert preprocess.frame(np.zeros((50, 50), np.float32)).max() == 0


def test_sixteen_bits_keep_what_eight_lose() -> None:
    faint = np.float32(0.5) + film() * np.float32(0.003)
    assert len(np.unique(Preprocess(depth_bits=8).frame(faint))) <= 3
    assert len(np.unique(Preprocess(depth_bits=16).frame(faint))) > 150


def test_padding_keeps_proportions_and_stretching_fills() -> None:
    tall = np.ones((300, 150), np.float32)
    padded, stretched = (Preprocess(size_px=64, aspect=aspect).frame(tall) for aspect in ("pad", "stretch"))  # type: ignore[arg-type]
    assert (stretched == 255).all()
    assert (padded[:, 16:48] == 255).all()
    assert not padded[:, :16].any()
    assert not padded[:, 48:].any()
    assert (Preprocess(size_px=64, aspect="pad").frame(tall.T) == padded.T).all()


def test_another_process_makes_the_same_bytes() -> None:
    script = (
        "import hashlib; import numpy as np; from hilum.preprocess import Preprocess;"
        "film = np.random.default_rng(0).random((500, 400)).astype(np.float32);"
        "print(hashlib.sha256(Preprocess(size_px=96).frame(film).tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    ours = Preprocess(size_px=96).frame(np.random.default_rng(0).random((500, 400)).astype(np.float32))
    assert done.stdout.strip() == hashlib.sha256(ours.tobytes()).hexdigest()


@settings(max_examples=30, deadline=None)
@given(st.integers(32, 300), st.integers(32, 300), st.sampled_from(["stretch", "pad"]), st.floats(0, 1, width=32))
def test_an_even_film_stays_even(height: int, width: int, aspect: Any, grey: float) -> None:
    frame = Preprocess(size_px=64, aspect=aspect).frame(np.full((height, width), grey, np.float32))
    shown = frame[frame > 0] if aspect == "pad" else frame
    assert np.abs(shown.astype(float) - 255 * grey).max(initial=0) <= 0.51


@pytest.mark.parametrize(
    ("told", "lowest", "highest"),
    [
        ({"channels": 1}, [-1], [1]),
        ({"channels": 3}, [-1] * 3, [1] * 3),
        ({"channels": 1, "mean": (0.0,), "std": (1.0,)}, [0], [1]),
        ({"channels": 3, "mean": (0.2, 0.4, 0.6), "std": (0.5, 0.25, 0.1)}, [-0.4, -1.6, -6], [1.6, 2.4, 4]),
        ({"channels": 1, "depth_bits": 16}, [-1], [1]),
        ({"channels": 3, "mean": (0.5,), "std": (1 / 2048,)}, [-1024] * 3, [1024] * 3),
    ],
)
def test_normalising(told: dict[str, Any], lowest: list[float], highest: list[float]) -> None:
    preprocess = Preprocess(size_px=32, **told)
    frames = np.stack([preprocess.frame(np.full((40, 40), grey, np.float32)) for grey in (0, 1, 0.5)])
    made = preprocess.normalise(frames)
    assert made.shape == (3, preprocess.channels, 32, 32)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert made[0].min(axis=(1, 2)) == pytest.approx(lowest, rel=1e-5, abs=1e-6)
    assert made[1].max(axis=(1, 2)) == pytest.approx(highest, rel=1e-5)
    assert preprocess.normalise(frames[:0]).shape == (0, preprocess.channels, 32, 32)


def test_the_digest_names_what_the_frame_depends_on_and_nothing_else() -> None:
    base = Preprocess()
    for change in ({"size_px": 299}, {"aspect": "pad"}, {"depth_bits": 16}):
        assert base.model_copy(update=change).geometry_digest != base.geometry_digest
    for change in ({"channels": 1}, {"mean": (0.1,)}, {"std": (0.1,)}):
        assert base.model_copy(update=change).geometry_digest == base.geometry_digest


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"channels": 1, "mean": (0.1, 0.2, 0.3)}, "mean has 3 values for 1 channels"),
        ({"channels": 3, "std": (0.1, 0.2)}, "std has 2 values for 3 channels"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"size_px": 16}, "32"),
        ({"channels": 2}, "channels"),
    ],
)
def test_what_makes_no_sense_is_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Preprocess(**told)


LUNGS = np.zeros((300, 200), bool)
LUNGS[90:210, 30:80] = LUNGS[90:210, 110:170] = True


@pytest.mark.parametrize(
    ("preprocess", "seen"),
    [
        (Preprocess(), (0, 300, 0, 200)),
        (Preprocess(lungs="only"), (0, 300, 0, 200)),
        (Preprocess(lungs="crop"), (90, 210, 30, 170)),
        (Preprocess(steps=("crop-black",)), (50, 300, 20, 200)),
        (Preprocess(steps=("crop-black",), lungs="crop"), (90, 210, 30, 170)),
    ],
    ids=["whole", "masked", "lungs", "border", "both"],
)
def test_what_is_seen_of_a_film_is_what_its_frame_is_made_of(preprocess: Preprocess, seen: tuple[int, ...]) -> None:
    pixels = film() * np.float32(0.5) + np.float32(0.3)
    pixels[:50], pixels[:, :20] = 0, 0
    lungs = LUNGS if preprocess.masked else None
    box = preprocess.seen(pixels, lungs)
    assert tuple(box) == seen
    part = (slice(box.top, box.bottom), slice(box.left, box.right))
    alone = preprocess.frame(pixels[part], None if lungs is None else lungs[part])
    np.testing.assert_array_equal(preprocess.frame(pixels, lungs), alone)
    assert tuple(preprocess.seen(pixels, lungs, size=(600, 401))) == (
        2 * seen[0],
        2 * seen[1],
        round(2.005 * seen[2]),
        round(2.005 * seen[3]),
    )
