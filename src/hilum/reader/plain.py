"""A reading for machines: what REST answers and `--json` prints."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import Box
from hilum.lesions import LESIONS, ZONES, Lesions
from hilum.lesions.severity import Score
from hilum.lungs import Lungs
from hilum.preprocess import Mask
from hilum.reader.reading import Answer, Held, Map, Reading
from hilum.records import DISCLAIMER

MAP_PX = 512
"""Longer side, at most, of a map's picture."""
MAP_COLOUR = (40, 80, 255)
"""Blue, green, red."""
MAP_ALPHA = 200
"""Of 255, where the map is highest."""
OUTLINED_PX = 512
"""Longer side of the masks that outlines are taken from."""
BEND = 0.75
"""Pixels of these by which an outline may cut a corner."""
ZONE = "brixia_zone_"

Points = list[list[float]]


def as_json(reading: Reading, *, pictures: bool = False) -> dict[str, Any]:
    """A reading as plain values; places are shares of the film's width and height, (0, 0) at the top left.

    A reading without pixels has no outlines.

    Args:
        reading: of a film.
        pictures: whether to add the film and the maps as PNGs in data URIs.
    """
    high, wide = reading.size or (None, None)
    film = {"name": reading.name, "sha256": reading.sha256, "height": high, "width": wide, "format": reading.format}
    refusal = reading.refusal and {"kind": reading.refusal.kind, "says": reading.refusal.says}
    look = reading.look
    told: dict[str, Any] = {
        "film": film,
        "outcome": reading.outcome.value,
        "refusal": refusal,
        "notes": list(reading.notes),
        "view": look and {"view": look.view.value, "probability": round(look.probability, 6)},
        "lungs": _lungs(reading.lungs) if reading.lungs else None,
        "lesions": _lesions(reading.lesions) if reading.lesions else None,
        "severity": _severity(reading.lesions.scores) if reading.lesions else None,
        "answers": [_answer(one, pictures=pictures) for one in reading.answers],
    }
    if pictures and reading.pixels is not None:
        told["pictures"] = {"film": _png_uri(reading.pixels)}
    seconds = {stage: round(seconds, 4) for stage, seconds in reading.seconds.items()}
    return told | {"seconds": seconds, "disclaimer": DISCLAIMER}


def _lungs(lungs: Lungs) -> dict[str, Any] | None:
    if not lungs.measures:
        return None
    sides = {"right": lungs.right, "left": lungs.left}
    return {
        "outlines": {side: outlines(mask) for side, mask in sides.items() if mask is not None},
        "measures": {name: round(value, 6) for name, value in lungs.measures.items()},
        "flags": list(lungs.flags),
    }


def outlines(mask: Mask) -> list[Points]:
    """Closed polygons around a mask's pieces and its holes."""
    high, wide = mask.shape
    scale = min(1.0, OUTLINED_PX / max(mask.shape))
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    small = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    edges, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    bent = [cv2.approxPolyDP(edge, BEND, True)[:, 0] for edge in edges]
    # A contour runs through the middle of pixels.
    return [((edge + 0.5) / size).round(4).tolist() for edge in bent if len(edge) > 2]


def _lesions(lesions: Lesions) -> dict[str, Any] | None:
    if lesions.size is None:
        return None
    high, wide = lesions.size
    return {
        label: {
            "outlines": outlines(lesions.masks[label]) if label in lesions.masks else [],
            "boxes": [_box(one.box.scaled(1 / wide, 1 / high)) for one in lesions.boxes if one.label == label],
            "share_of_lungs": _number(lesions.shares[f"{label}_both"]),
        }
        for label in LESIONS
    }


def _box(box: Box) -> list[float]:
    return [round(edge, 4) for edge in (box.left, box.top, box.width, box.height)]


def _severity(scores: Sequence[Score]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for score in scores:
        if not score.name.startswith(ZONE):
            bounded = {"value": score.value, "low": score.low, "high": score.high}
            scale = {"lowest": score.lowest, "highest": score.highest, "meaning": score.meaning}
            told[score.name] = {name: round(value, 2) for name, value in bounded.items()} | scale
    zones = {score.name.removeprefix(ZONE): round(score.value, 2) for score in scores if score.name.startswith(ZONE)}
    if "brixia" in told:
        told["brixia"]["zones"] = {zone: zones[zone] for zone in ZONES if zone in zones}
    return told


def _answer(one: Answer, *, pictures: bool) -> dict[str, Any]:
    return {
        "bundle": one.bundle,
        "title": one.title,
        "digest": one.digest,
        "outcome": one.outcome.value,
        "label": one.label,
        "findings": [_held(held) for held in one.findings],
        "interval": one.interval,
        "reasons": list(one.reasons),
        "verdict": one.verdict,
        "headline": one.headline,
        "map": _map(one.map, pictures=pictures) if one.map else None,
    }


def _held(held: Held) -> dict[str, Any]:
    numbers = {"probability": held.probability, "low": held.low, "high": held.high, "threshold": held.threshold}
    return {"label": held.label} | {name: _number(value) for name, value in numbers.items()}


def _map(one: Map, *, pictures: bool) -> dict[str, Any]:
    share: Mapping[str, float | None] = {
        "in_lungs": _number(one.lungs.energy if one.lungs else None),
        "lungs_area": _number(one.lungs.area if one.lungs else None),
    }
    told: dict[str, Any] = {**share, "no_map": one.no_map}
    if pictures and one.shown is not None:
        told["picture"] = _png_uri(map_picture(one.shown))
    return told


def map_picture(shown: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (H, W) as blue, green, red and alpha (h, w, 4): the higher, the more opaque."""
    scale = min(1.0, MAP_PX / max(shown.shape))
    high, wide = (max(1, round(side * scale)) for side in shown.shape)
    small = np.clip(cv2.resize(shown, (wide, high), interpolation=cv2.INTER_AREA), 0, 1)
    picture = np.empty((high, wide, 4), np.uint8)
    picture[..., :3] = MAP_COLOUR
    picture[..., 3] = np.rint(MAP_ALPHA * np.sqrt(small))
    return picture


def _png_uri(picture: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".png", picture)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 6)
