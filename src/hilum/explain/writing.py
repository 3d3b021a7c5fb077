"""Explanations on disk: one table for people, one file for machines, and lesion masks read from a folder."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import DataError
from hilum.explain.films import Explanation
from hilum.explain.judging import REDRAWN, Share
from hilum.files import write_json, written_aside
from hilum.masks import read_mask
from hilum.preprocess import Mask

LESIONS = ("ggo", "consolidation")
"""Labels of lesion masks; what else a folder holds of a film, such as its heart, is none."""
SEEN = ("seen_top", "seen_bottom", "seen_left", "seen_right")
"""Rows and columns of the film that the network was shown, where these are not all; the last ones are outside."""
COLUMNS = (
    "film",
    "label",
    "probability",
    "decided",
    "method",
    "layer",
    "grid",
    "no_map",
    *SEEN,
    "lungs_energy",
    "lungs_area",
    "lungs_ratio",
    "lungs_film_ratio",
    "lungs_flags",
    "lesions_drawn_by",
    "lesions_energy",
    "lesions_area",
    "lesions_ratio",
    "lesions_film_ratio",
    "points_at_lesion",
    "padding_share",
    *(f"redrawn_{part}" for part in REDRAWN),
    "overlay",
    "refused",
    "bundle",
)


def as_json(one: Explanation, overlay: str | None = None, **more: Any) -> dict[str, Any]:
    """An explanation for machines: plain values under `COLUMNS` and `more`, None where nothing is told."""
    values = {
        "film": str(one.film),
        "label": one.label,
        "probability": _rounded(one.probability),
        "decided": one.decided,
        "method": one.method,
        "layer": one.layer,
        "grid": grid_words(one) or None,
        "no_map": one.no_map,
        **dict(zip(SEEN, one.seen or (None,) * len(SEEN), strict=True)),
        **_shares("lungs", one.lungs_share),
        "lungs_flags": "; ".join(one.lungs_flags) or None,
        "lesions_drawn_by": one.lesions_drawn_by,
        **_shares("lesions", one.lesions_share),
        "points_at_lesion": one.points_at_lesion,
        "padding_share": _rounded(one.padding_share),
        **{f"redrawn_{part}": _rounded(one.redrawn.get(part)) for part in REDRAWN},
        "overlay": overlay,
        "refused": one.refusal,
        "bundle": one.bundle_digest,
    }
    return values | more


def grid_words(one: Explanation) -> str:
    """`10 x 10`; of several maps `20 x 20 and 10 x 10`."""
    return " and ".join(f"{high} x {wide}" for high, wide in one.grids)


def _shares(name: str, share: Share | None) -> dict[str, float | None]:
    parts = ("energy", "area", "ratio", "film_ratio")
    return {f"{name}_{part}": _rounded(getattr(share, part)) if share else None for part in parts}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def write_tables(rows: Sequence[Mapping[str, Any]], notes: Sequence[str], folder: Path) -> None:
    """Write `explanations.csv`, a row an explanation, and `explanations.json` with the notes before them."""
    with written_aside(folder / "explanations.csv") as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / "explanations.json", {"notes": list(notes), "explanations": list(rows)})


def lesions_in(folder: Path) -> Callable[[Path, tuple[int, int]], Mask | None]:
    """Reads a film's lesions from a folder of masks: `NAME.png`, or of `LESIONS` `NAME-LABEL.png`; None without a file.

    Of several masks a pixel is a lesion that is one in any. An empty mask says that there is no lesion.

    Raises:
        DataError: there is no such folder, or it holds no PNG; when reading, a mask that does not fit its film.
    """
    if not any(folder.glob("*.png")):
        raise DataError(f"{folder} holds no lesion mask: it takes NAME.png or NAME-ggo.png, of each film's own size")

    def read(film: Path, size: tuple[int, int]) -> Mask | None:
        names = (film.stem, *(f"{film.stem}-{label}" for label in LESIONS))
        files = [file for file in (folder / f"{name}.png" for name in names) if file.is_file()]
        masks = [read_mask(file, size, may_be_empty=True) for file in files]
        return np.logical_or.reduce(masks) if masks else None

    return read
