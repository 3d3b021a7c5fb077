"""Grey levels: what changes a film's brightness and contrast and leaves every pixel in its place.

Each function looks at one film only, so a film is treated alike in training, in evaluation and in service. None gives
different pictures for the same film stored in 8 or in 16 bits: histograms have 256 levels whatever the file had, and
the curves made from them are applied with linear interpolation between the levels.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.enhance.film import Pixels

LEVELS = 256
_TOP = LEVELS - 1


def min_max(film: Pixels) -> Pixels:
    """Stretch to the full range: (x - min) / (max - min). A constant film becomes 0, and is a film still.

    >>> min_max(np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)).tolist()
    [[0.0, 0.5], [0.5, 1.0]]
    """
    low, high = film.min(), film.max()
    if low == high:
        return np.zeros_like(film)
    stretched: Pixels = ((film.astype(np.float64) - low) / (np.float64(high) - low)).astype(np.float32)
    return stretched


def zscore(film: Pixels) -> Pixels:
    """Mean 0 and standard deviation 1: (x - mean) / sd, both of this film. A constant film becomes 0.

    Returns:
        A new float32 `(H, W)`, unbounded; `zscore_grey` is the same inside [0, 1].
    """
    if film.min() == film.max():
        return np.zeros_like(film)
    grey = film.astype(np.float64)
    scored: Pixels = ((grey - grey.mean()) / grey.std()).astype(np.float32)
    return scored


def zscore_grey(film: Pixels, *, limit: float = 4.0) -> Pixels:
    """`zscore` as a film: clip(0.5 + z / (2 limit), 0, 1).

    Mean .5 and standard deviation 1 / (2 limit) in the normalisation that follows (.125 for a limit of 4) give a
    network z itself. One and the same transform for films trained on and films judged: never the mean of others.

    Args:
        film: float32 `(H, W)` in [0, 1].
        limit: standard deviations from the mean to black and to white; what is further is clipped.
    """
    grey: Pixels = np.clip(0.5 + zscore(film) / np.float32(2 * limit), 0, 1)
    return grey


def agcwd(film: Pixels, *, alpha: float = 0.5) -> Pixels:
    """Adaptive gamma correction with weighting distribution: a curve that brightens what is dark and frequent.

    A film of one grey level is returned as it is: the formula would turn it white.

    Args:
        film: float32 `(H, W)` in [0, 1].
        alpha: exponent of the weighting; 0 makes every level weigh the same, 1 leaves the histogram as it is.

    References:
        Huang, Cheng, Chiu: Efficient contrast enhancement using adaptive gamma correction with weighting distribution.
        IEEE Trans Image Process 22(3):1032-1041, 2013. doi:10.1109/TIP.2012.2226047
    """
    if film.min() == film.max():
        return film.copy()
    curve = agcwd_curve(film, alpha=alpha)
    grey: Pixels = np.interp(film * np.float32(_TOP), np.arange(LEVELS), curve).astype(np.float32)
    return grey


def agcwd_curve(film: Pixels, *, alpha: float = 0.5) -> NDArray[np.float64]:
    """The curve of `agcwd`, `(256,)` in [0, 1] and never falling.

    T(l) = (l / 255)^(1 - cdf_w(l)), where cdf_w is the cumulated, normalised pdf_w(l) =
    pdf_max ((pdf(l) - pdf_min) / (pdf_max - pdf_min))^alpha. T(0) is 0, also where cdf_w(0) is 1.
    """
    counts = np.bincount(np.rint(film.ravel() * np.float32(_TOP)).astype(np.intp), minlength=LEVELS)
    spread = np.ptp(counts)
    weights = ((counts - counts.min()) / spread) ** alpha if spread else np.ones(LEVELS)
    # Cumulated from above, because 1 - cdf_w would end in rounding noise where it should end in 0.
    gamma = np.append(weights[::-1].cumsum()[-2::-1], 0.0) / weights.sum()
    curve: NDArray[np.float64] = (np.arange(LEVELS) / _TOP) ** gamma
    curve[0] = 0.0
    return curve


def clahe(film: Pixels, *, clip: float = 2.0, tiles: int = 8) -> Pixels:
    """Contrast-limited adaptive histogram equalisation: each place by the histogram of its surroundings.

    The film is cut into tiles x tiles parts. In each, levels that hold more than `clip` times their even share are cut
    and the excess is spread over all levels; the cumulated rest is the part's curve. A pixel's grey is interpolated
    between the curves of the four nearest parts.

    OpenCV's CLAHE is not used. On 16-bit films it counts 65,536 levels, of which a part has too few pixels for any
    limit to hold: the same film of 320 px stored in 8 and in 16 bits comes out 26 to 43 of 255 grey levels apart, here
    .6. On 8-bit films it keeps 256 levels and spreads the rest of the excess unevenly, which brightens small parts.

    Args:
        film: float32 `(H, W)` in [0, 1].
        clip: 1 changes least; the higher, the closer to equalisation without a limit.
        tiles: parts along each side; at most one a pixel.

    References:
        Zuiderveld: Contrast limited adaptive histogram equalization. Graphics Gems IV, 474-485, 1994.
        doi:10.1016/B978-0-12-336156-1.50061-6
        Pizer et al.: Adaptive histogram equalization and its variations. Comput Vis Graph Image Process 39:355-368,
        1987. doi:10.1016/S0734-189X(87)80186-X
    """
    height, width = film.shape
    down, across = min(tiles, height), min(tiles, width)
    curves = _tile_curves(film, down, across, clip)
    rows = np.broadcast_to(((np.arange(height) + 0.5) * down / height - 0.5)[:, None], film.shape)
    columns = np.broadcast_to((np.arange(width) + 0.5) * across / width - 0.5, film.shape)
    places = np.stack([rows, columns, film.astype(np.float64) * _TOP])
    from scipy import ndimage  # a tenth of a second, for those who use this step only

    grey: Pixels = ndimage.map_coordinates(curves, places, order=1, mode="nearest").astype(np.float32)
    return np.clip(grey, 0, 1)


def _tile_curves(film: Pixels, down: int, across: int, clip: float) -> NDArray[np.float64]:
    """`(down, across, 256)` in [0, 1]: the curve of each part."""
    height, width = film.shape
    part = (np.arange(height) * down // height)[:, None] * across + np.arange(width) * across // width
    level = np.rint(film * np.float32(_TOP)).astype(np.intp)
    counts = np.bincount((part * LEVELS + level).ravel(), minlength=down * across * LEVELS).reshape(-1, LEVELS)
    shares = counts / counts.sum(axis=1, keepdims=True)
    kept = np.minimum(shares, clip / LEVELS)
    kept += (1 - kept.sum(axis=1, keepdims=True)) / LEVELS
    curves: NDArray[np.float64] = kept.cumsum(axis=1).reshape(down, across, LEVELS)
    return curves
