"""From stored DICOM samples to what a viewer shows: modality transform, window, padding, polarity (PS3.3, C.11).

What a sample becomes depends on its value alone, so it is worked out once per value that can occur, in float64, and
looked up for every pixel.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hilum.pixels.dicom_header import numbers, quiet, text
from hilum.pixels.film import Pixels, Refused, Stored, constant, refusing

Samples = NDArray[np.int64]
Values = NDArray[np.float64]
CUT = 0.005
"""A film without a usable window is shown between the percentiles 0.5 and 99.5 of its own pixels."""


def displayed(stored: Stored, data: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    """Float32 `(H, W)` in [0, 1], bone bright, and what had to be warned about.

    Raises:
        Refused: the header's transform is not a transform, or the film shows one value only.
    """
    lowest = int(stored.min())
    places = np.subtract(stored, lowest, dtype=np.int32)
    counts = np.bincount(places.ravel())
    with quiet(), refusing("bad header", "has a display transform that cannot be applied"):
        table, warnings = _table(np.arange(lowest, lowest + len(counts)), counts, data)
    return table[places], warnings


def _table(samples: Samples, counts: Samples, data: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    """What each stored value is shown as, given how many pixels have it."""
    padding = _padding(samples, data)
    counts = np.where(padding, 0, counts)
    if np.count_nonzero(counts) < 2:
        raise constant()
    levels, warnings = _levels(_modality(samples, data), counts, data)
    inverse = text(data, "PresentationLUTShape") == "INVERSE"
    if inverse or text(data, "PhotometricInterpretation") == "MONOCHROME1":
        levels = 1.0 - levels
    return np.where(padding, 0.0, np.clip(levels, 0.0, 1.0)).astype(np.float32), warnings


def _padding(samples: Samples, data: Dataset) -> NDArray[np.bool_]:
    """Which stored values mark pixels outside the picture."""
    found = numbers(data, "PixelPaddingValue")
    if not found:
        return np.zeros(len(samples), bool)
    limit = numbers(data, "PixelPaddingRangeLimit") or found
    low, high = sorted((found[0], limit[0]))
    return (samples >= low) & (samples <= high)


def _modality(samples: Samples, data: Dataset) -> Values:
    """Stored values to the values the window is stated in."""
    tables = data.get("ModalityLUTSequence")
    if tables:
        return _looked_up(samples.astype(np.float64), tables[0])[0]
    slope = (numbers(data, "RescaleSlope") or (1.0,))[0]
    intercept = (numbers(data, "RescaleIntercept") or (0.0,))[0]
    if slope == 0 or not (math.isfinite(slope) and math.isfinite(intercept)):
        raise Refused("bad header", "has a RescaleSlope or RescaleIntercept that is zero or not finite")
    return samples.astype(np.float64) * slope + intercept


def _levels(values: Values, counts: Samples, data: Dataset) -> tuple[Values, tuple[str, ...]]:
    """Levels in [0, 1] for each value, by the file's table, its window, or the spread of its own pixels."""
    levels, warnings = _stated_levels(values, data)
    if levels is not None and np.ptp(levels[counts > 0]) > 0:
        return levels, warnings
    if levels is not None:
        warnings = (*warnings, "window shows nothing: ignored")
    low, high = _spread(values, counts)
    return np.clip((values - low) / (high - low), 0.0, 1.0), (*warnings, "no usable window: percentiles used")


def _stated_levels(values: Values, data: Dataset) -> tuple[Values | None, tuple[str, ...]]:
    """Levels by the file's VOI table if it has one, else by its window; None where neither is usable."""
    tables = data.get("VOILUTSequence")
    if not tables:
        return _stated_window(values, data)
    found, top = _looked_up(values, tables[0])
    return found / top, ("several windows: first used",) if len(tables) > 1 else ()


def _stated_window(values: Values, data: Dataset) -> tuple[Values | None, tuple[str, ...]]:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3; None where no usable window is stated."""
    try:
        centres, widths = numbers(data, "WindowCenter"), numbers(data, "WindowWidth")
    except Refused:
        return None, ("window is not a number: ignored",)
    if not centres or not widths:
        return None, ()
    centre, width = centres[0], widths[0]
    function = text(data, "VOILUTFunction") or "LINEAR"
    odd = ("several windows: first used",) if len(centres) > 1 else ()
    if not math.isfinite(centre) or not math.isfinite(width) or width <= 0 or (function == "LINEAR" and width < 1):
        return None, (*odd, "WindowWidth of zero or less ignored")
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0))), odd
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0), odd
    if width == 1:
        return (values > centre - 0.5).astype(np.float64), odd
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0), odd


def _spread(values: Values, counts: Samples) -> tuple[float, float]:
    """The values that `CUT` of the pixels shown lie beyond on either side; the extremes where those are one."""
    order = np.argsort(values, kind="stable")
    ranked, counts = values[order], counts[order]
    cut = CUT * counts.sum()
    low = float(ranked[np.searchsorted(np.cumsum(counts), cut)])
    high = float(ranked[::-1][np.searchsorted(np.cumsum(counts[::-1]), cut)])
    if low < high:
        return low, high
    shown = ranked[counts > 0]
    if np.ptp(shown) == 0:
        raise constant()
    return float(shown.min()), float(shown.max())


def _looked_up(values: Values, item: Mapping[str, Any] | Dataset) -> tuple[Values, float]:
    """Values through a modality or VOI table (PS3.3, C.11.1.1), and the table's top."""
    with refusing("bad header", "has a lookup table that cannot be used"):
        entries, first, bits = (int(number) for number in item["LUTDescriptor"].value)
        entries = entries or 65536
        raw = item["LUTData"].value
        if isinstance(raw, bytes):
            raw = np.frombuffer(raw, np.uint8 if len(raw) < 2 * entries else "<u2")
        table = np.atleast_1d(np.asarray(raw, np.float64))[:entries]
        if len(table) != entries or not 8 <= bits <= 16:
            raise Refused("bad header", "has a lookup table that cannot be used")
        if first > 32767 and values.min() < 0:
            first -= 65536
        index = np.clip(np.round(values) - first, 0, entries - 1).astype(np.int64)
    return table[index], float((1 << bits) - 1)
