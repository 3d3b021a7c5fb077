"""A film's lesions as a row of plain values: what tables and JSON are made of, and what is kept of many films."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from hilum.boxes import Box, LabelledBox
from hilum.lesions.boxed import Boxed, plain_box
from hilum.lesions.films import Lesions
from hilum.lesions.severity import Score

if TYPE_CHECKING:
    import pyarrow as pa


def schema() -> "pa.Schema":
    """Of `row_of`, but for `film`."""
    import pyarrow as pa  # a tenth of a second, for those who keep rows in parts only

    numbers = pa.map_(pa.string(), pa.float64())
    box = [("label", pa.string()), *((edge, pa.float64()) for edge in Box._fields), ("score", pa.float64())]
    score = [(one.name, pa.float64() if one.type in (float, "float") else pa.string()) for one in fields(Score)]
    return pa.schema(
        [
            ("name", pa.string()),
            ("height_px", pa.int64()),
            ("width_px", pa.int64()),
            ("shares", numbers),
            ("highest", numbers),
            ("boxes", pa.list_(pa.struct(box))),
            ("scores", pa.list_(pa.struct(score))),
            ("flags", pa.list_(pa.string())),
            ("refused", pa.string()),
            ("bundle", pa.string()),
            ("lungs_bundle", pa.string()),
        ]
    )


def row_of(lesions: Lesions, name: str) -> dict[str, Any]:
    """All of a result but the pixels; a share that is not there is NaN.

    Args:
        lesions: of a film.
        name: of the film among the others.
    """
    height_px, width_px = lesions.size or (None, None)
    return {
        "film": str(lesions.film),
        "name": name,
        "height_px": height_px,
        "width_px": width_px,
        "shares": list(lesions.shares.items()),
        "highest": list(lesions.highest.items()),
        "boxes": [{"label": one.label, **one.box._asdict(), "score": one.score} for one in lesions.boxes],
        "scores": [asdict(score) for score in lesions.scores],
        "flags": list(lesions.flags),
        "refused": lesions.refusal,
        "bundle": lesions.bundle_digest,
        "lungs_bundle": lesions.lungs.bundle_digest,
    }


def boxed(row: Mapping[str, Any]) -> Boxed:
    """A row's boxes as `boxed.write_boxes` takes them."""
    return Boxed(
        source=row["film"],
        name=row["name"],
        size=(row["height_px"] or 0, row["width_px"] or 0),
        boxes=tuple(_box(one) for one in row["boxes"]),
        refusal=row["refused"],
    )


def _box(told: Mapping[str, Any]) -> LabelledBox:
    return LabelledBox(told["label"], Box(*(told[edge] for edge in Box._fields)), told["score"])


def told_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for machines: a share that is not there is None."""
    told = {key: row[key] for key in ("film", "bundle", "lungs_bundle")}
    if row["refused"] is not None:
        return told | {"refused": row["refused"]}
    return told | {
        "shares": {name: None if math.isnan(share) else round(share, 6) for name, share in row["shares"]},
        "highest": {label: round(value, 6) for label, value in row["highest"]},
        "boxes": [plain_box(_box(one)) for one in row["boxes"]],
        "scores": {score["name"]: _bounded(score) for score in row["scores"]},
        "flags": row["flags"],
    }


def _bounded(score: Mapping[str, Any]) -> dict[str, float]:
    rounded = {key: round(score[key], 4) for key in ("value", "low", "high")}
    return rounded | {key: score[key] for key in ("lowest", "highest")}


def as_json(lesions: Lesions) -> dict[str, Any]:
    """A result for machines: plain values, no masks; a share that is not there is None."""
    return told_of(row_of(lesions, lesions.film.stem))
