"""Films as pictures inside a page: small JPEGs in data URIs, so that a page needs no file beside it."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Kind = Literal["confident right", "confident wrong", "borderline"]
KINDS: tuple[Kind, ...] = ("confident right", "confident wrong", "borderline")
SIDE_PX = 320
JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class ExampleFilm:
    """One film to look at, and what the network said of it."""

    image_id: str
    pixels: NDArray[np.uint8]
    """(H, W), bone bright."""
    reference: str
    predicted: str
    probability: float
    """Of the predicted class, in [0, 1]."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Tile:
    """An example film as a page shows it."""

    film: ExampleFilm
    uri: str
    width: int
    height: int
    alt: str


def contact_sheet(films: Sequence[ExampleFilm]) -> list[tuple[Kind, list[Tile]]]:
    """The films by kind, in the order right, wrong, borderline; kinds without films are left out."""
    sheets = [(kind, [_tile(film) for film in films if film.kind == kind]) for kind in KINDS]
    return [(kind, tiles) for kind, tiles in sheets if tiles]


def choose_examples(
    reference: Sequence[str], probabilities: NDArray[np.float64], classes: Sequence[str], *, each: int = 6
) -> list[tuple[int, Kind]]:
    """Rows worth a look: the most confident right ones, the most confident wrong ones, the most undecided.

    Args:
        reference: class of each film.
        probabilities: (N, C), in the order of `classes`.
        classes: class names.
        each: films of each kind at most.

    Returns:
        Rows and their kinds; no row twice.
    """
    ordered = np.sort(probabilities, axis=1)
    right = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)] == np.asarray(reference, dtype=object)
    sure = np.argsort(-ordered[:, -1], kind="stable")
    undecided = np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")
    chosen: dict[int, Kind] = {}
    ranked: tuple[tuple[Kind, NDArray[np.intp]], ...] = (
        ("confident wrong", sure[~right[sure]]),
        ("confident right", sure[right[sure]]),
        ("borderline", undecided),
    )
    for kind, rows in ranked:
        chosen |= {int(row): kind for row in _first_new(rows, chosen, each)}
    return list(chosen.items())


def _first_new(rows: Iterable[int], taken: Iterable[int], most: int) -> list[int]:
    held = set(taken)
    return [row for row in rows if row not in held][:most]


def jpeg_uri(pixels: NDArray[np.uint8], *, side_px: int = SIDE_PX) -> tuple[str, int, int]:
    """A film (H, W) as a data URI of a JPEG no larger than `side_px`, with its width and height.

    Nothing but the pixels is written: no name, no comment, no metadata.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}", *picture.size


def _tile(film: ExampleFilm) -> Tile:
    uri, width, height = jpeg_uri(film.pixels)
    alt = f"Radiograph {film.image_id}: reference {film.reference}, predicted {film.predicted}."
    return Tile(film=film, uri=uri, width=width, height=height, alt=alt)
