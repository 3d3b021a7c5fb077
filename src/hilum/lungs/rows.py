"""A film's lungs as a row of plain values: what tables and JSON are made of, and what is kept of many films."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hilum.lungs.films import Lungs
from hilum.lungs.heart import RATIO

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = ("area_share", "right_share", "left_share", "balance", "border_share", "unsure_share", RATIO)


def schema() -> "pa.Schema":
    """Of `row_of`, but for `film`."""
    import pyarrow as pa  # a tenth of a second, for those who keep rows in parts only

    return pa.schema(
        [
            pa.field("mask", pa.string()),
            *(pa.field(name, pa.float64()) for name in MEASURES),
            pa.field("no_ratio", pa.string()),
            pa.field("flags", pa.list_(pa.string())),
            pa.field("refused", pa.string()),
            pa.field("bundle", pa.string()),
            pa.field("heart_bundle", pa.string()),
        ]
    )


def row_of(lungs: Lungs, mask: str | None = None) -> dict[str, Any]:
    """All of a result but the pixels and where the heart's widths lie; what is not there is None.

    Args:
        lungs: of a film.
        mask: the name of its mask's file.
    """
    return {
        "film": str(lungs.film),
        "mask": mask,
        **{name: lungs.measures.get(name) for name in MEASURES},
        "no_ratio": lungs.heart_size if isinstance(lungs.heart_size, str) else None,
        "flags": list(lungs.flags),
        "refused": lungs.refusal,
        "bundle": lungs.bundle_digest,
        "heart_bundle": lungs.heart_digest,
    }


def told_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for machines: no empty keys."""
    told: dict[str, Any] = {"film": row["film"], "bundle": row["bundle"]}
    if row["refused"] is not None:
        return told | {"refused": row["refused"]}
    told |= {name: round(row[name], 6) for name in MEASURES if row[name] is not None}
    told |= {name: row[name] for name in ("no_ratio", "heart_bundle") if row[name]}
    return told | {"flags": row["flags"]}


def as_json(lungs: Lungs) -> dict[str, Any]:
    """A result for machines: plain values, no masks."""
    return told_of(row_of(lungs))
