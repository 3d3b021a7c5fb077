"""Noise: two filters that take it away, and one impulse noise to try them with."""

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hilum.enhance.film import Pixels

_WINDOWS_AT_ONCE = 1 << 16
"""Bounds the memory of the adaptive median: 60 MB for the widest window, whatever the film's size."""
_DEEP = 65535


def salt_and_pepper(film: Pixels, *, share: float, rng: np.random.Generator) -> Pixels:
    """Turn a share of the pixels white and as large a share black, each pixel by a draw of its own.

    Args:
        film: float32 `(H, W)` in [0, 1].
        share: probability of white, and of black, in [0, 0.5]; 2 `share` of all pixels are lost.
        rng: where the draws come from; one `rng.random(film.shape)` is taken.
    """
    draw = rng.random(film.shape)
    noisy: Pixels = np.where(draw < share, 1, np.where(draw >= 1 - share, 0, film)).astype(np.float32)
    return noisy


def seeded_salt_and_pepper(film: Pixels, *, share: float = 0.05, seed: int = 0) -> Pixels:
    """`salt_and_pepper` with a generator of its own: every film of one size loses the same pixels."""
    return salt_and_pepper(film, share=share, rng=np.random.default_rng(seed))


def adaptive_median(film: Pixels, *, window: int = 7) -> Pixels:
    """The median only where a pixel is an impulse, from the smallest window whose median is none.

    From 3 x 3 on, the window grows by 2 until min < median < max; all three are those of the window as it is then. The
    pixel stays where it lies strictly between min and max and else becomes the median; at the widest window this is
    decided whatever the median is. A window of one grey holds no impulse, and its pixel stays. Borders are reflected.

    Args:
        film: float32 `(H, W)` in [0, 1].
        window: side of the widest window in pixels; odd.

    References:
        Hwang, Haddad: Adaptive median filters: new algorithms and results. IEEE Trans Image Process 4(4):499-502, 1995.
        doi:10.1109/83.370679
    """
    cleaned = film.copy()
    undecided = np.arange(film.size)
    for side in range(3, window + 1, 2):
        windows = sliding_window_view(np.pad(film, side // 2, mode="symmetric"), (side, side))
        last = side + 2 > window
        starts = range(0, len(undecided), _WINDOWS_AT_ONCE)
        parts = [_decide(windows, undecided[at : at + _WINDOWS_AT_ONCE], cleaned, last=last) for at in starts]
        undecided = np.concatenate([*parts, undecided[:0]])
    return cleaned


def _decide(windows: NDArray[np.float32], pixels: NDArray[np.intp], cleaned: Pixels, *, last: bool) -> NDArray[np.intp]:
    """Write the medians that are due at `pixels` into `cleaned`; what needs a wider window is returned."""
    rows, columns = np.divmod(pixels, cleaned.shape[1])
    greys = windows[rows, columns].reshape(len(pixels), -1)
    middle = greys.shape[1] // 2
    here = greys[:, middle].copy()
    greys.partition(middle, axis=1)
    low, median, high = greys.min(axis=1), greys[:, middle], greys.max(axis=1)
    settled = ((low < median) & (median < high)) | last
    impulse = settled & ((here <= low) | (here >= high))
    cleaned[rows[impulse], columns[impulse]] = median[impulse]
    left: NDArray[np.intp] = pixels[~settled & (low < high)]
    return left


def non_local_means(film: Pixels, *, strength: float = 0.03, patch: int = 5, search: int = 13) -> Pixels:
    """Average each pixel with those around it whose surroundings look alike.

    Weights are exp(-(pi / 2) (d / strength)^2), where d is the mean absolute difference of the two patches. For
    Gaussian noise pi / 2 makes this the paper's weight by the mean squared difference, exp(-(d_2 / strength)^2). OpenCV
    offers squares for 8-bit films only, absolutes for 16-bit ones as well: those keep the film's depth, and on real
    films with added noise both gain the same to .15 dB.

    Args:
        film: float32 `(H, W)` in [0, 1].
        strength: about the standard deviation of the noise, as a part of the full range.
        patch: side of the surroundings compared, in pixels; odd.
        search: side of the window averaged over, in pixels; odd.

    References:
        Buades, Coll, Morel: A non-local algorithm for image denoising. CVPR 2005, 2:60-65. doi:10.1109/CVPR.2005.38
        Buades, Coll, Morel: Non-local means denoising. Image Process On Line 1:208-212, 2011.
        doi:10.5201/ipol.2011.bcm_nlm
    """
    deep = np.rint(film * np.float32(_DEEP)).astype(np.uint16)
    height = float(strength * np.sqrt(2 / np.pi) * _DEEP)
    mean = cv2.fastNlMeansDenoising(deep, [height], None, patch, search, cv2.NORM_L1)
    return np.asarray(mean, np.float32) / np.float32(_DEEP)
