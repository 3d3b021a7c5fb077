"""Boxes around the pieces of masks, a film at a time: of lesions with a score, of mask files as they are."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.boxes import GAP_SHARE, LEAST_SHARE, Box, LabelledBox, mask_boxes, merge_boxes, write_classes, write_yolo
from hilum.errors import DataError, HilumError
from hilum.files import names_of, written_aside
from hilum.masks import read_mask
from hilum.pixels import read_facts
from hilum.preprocess import Mask

CLASSES = "classes.txt"
COLUMNS = ("film", "name", "label", "left", "top", "right", "bottom", "score", "width_px", "height_px")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxed:
    """A film's boxes, or why there are none: never both.

    Attributes:
        source: the film, or the mask the boxes are of, as its path was given.
        name: of its text file, without suffix.
        size: (height, width) in pixels.
        boxes: largest first, label by label.
        refusal: why the mask was not used.
    """

    source: Path | str
    name: str
    size: tuple[int, int] = (0, 0)
    boxes: tuple[LabelledBox, ...] = ()
    refusal: str | None = None


def scored_boxes(label: str, mask: Mask, inside: NDArray[np.float32]) -> tuple[LabelledBox, ...]:
    """Boxes of a lesion's mask (H, W), specks left out, near pieces joined.

    A box's score is the mean probability of the mask's pixels in it.

    Args:
        label: of the boxes.
        mask: where the lesion is.
        inside: (H, W) its probability.
    """
    pieces = mask_boxes(mask, least_area_px=LEAST_SHARE * mask.size)
    joined = merge_boxes(pieces, side_px=max(mask.shape), gap_share=GAP_SHARE)
    return tuple(LabelledBox(label, box, _mean_inside(mask, inside, box)) for box in joined)


def _mean_inside(mask: Mask, inside: NDArray[np.float32], box: Box) -> float:
    left, top, right, bottom = (int(edge) for edge in box)
    return float(inside[top:bottom, left:right].mean(where=mask[top:bottom, left:right], dtype=np.float64))


def boxes_of_masks(
    masks: Sequence[Path],
    label: str,
    *,
    gap_share: float = 0.0,
    films: Sequence[Path] | None = None,
    may_be_empty: bool = False,
) -> Iterator[Boxed]:
    """The boxes of one mask file after another, in the order given; a mask that cannot be used is a refusal.

    A mask `NAME-LABEL.png`, as `hilum lesions` writes them, belongs to the film NAME, and so does `NAME.png`.

    Args:
        masks: PNGs of two grey levels, 0 outside.
        label: what they are masks of.
        gap_share: as `hilum.boxes.merge_boxes` takes it; 0 gives every piece a box of its own.
        films: those the masks were drawn on, whose size a mask must have; None takes a mask's own size to be its
            film's.
        may_be_empty: whether a mask without a pixel says that nothing is there, or that it is broken.
    """
    of_films = [path.with_stem(path.stem.removesuffix(f"-{label}") or path.stem) for path in masks]
    for path, of_film, name in zip(masks, of_films, names_of(of_films), strict=True):
        try:
            facts = read_facts(path if films is None else _film_of(path, of_film.stem, films))
            size = facts.height, facts.width
            mask = read_mask(path, size, may_be_empty=may_be_empty)
        except (HilumError, OSError) as error:
            yield Boxed(source=path, name=name, refusal=str(error))
            continue
        boxes = merge_boxes(mask_boxes(mask), side_px=max(size), gap_share=gap_share)
        told = tuple(LabelledBox(label, box) for box in boxes)
        yield Boxed(source=path, name=name, size=size, boxes=told)


def _film_of(mask: Path, stem: str, films: Sequence[Path]) -> Path:
    found = [film for film in films if film.stem == stem]
    if len(found) != 1:
        raise DataError(
            f"the mask {mask.name} belongs to {len(found)} of the films; name it as its film is named, with one film "
            "of that name"
        )
    return found[0]


def check_names(names: Iterable[str]) -> None:
    """Whether films of these names can have texts of boxes beside one another.

    Raises:
        DataError: a film's text would be `classes.txt`.
    """
    if Path(CLASSES).stem in names:
        raise DataError(f"the boxes of a film of that name would be {CLASSES}, the list of classes; rename the film")


def write_boxes(found: Iterable[Boxed], classes: Sequence[str], folder: Path) -> None:
    """Write `NAME.txt` for every film that was not refused, `classes.txt`, and `boxes.csv` in pixels.

    A film without boxes gets an empty text: nothing was found on it.

    Args:
        found: whose names `check_names` let pass; gone through once.
        classes: labels in the order of their numbers.
        folder: to write to.
    """
    write_classes(folder / CLASSES, classes)
    with written_aside(folder / "boxes.csv") as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for one in found:
            if one.refusal is None:
                write_yolo(folder / f"{one.name}.txt", one.boxes, classes, width_px=one.size[1], height_px=one.size[0])
            writer.writerows(_row(one, box) for box in one.boxes)


def plain_box(one: LabelledBox) -> dict[str, Any]:
    """A box for machines: whole pixels; a score where a network drew it."""
    told = {"label": one.label, **{name: int(edge) for name, edge in one.box.rounded()._asdict().items()}}
    return told if one.score is None else told | {"score": round(one.score, 6)}


def as_json(one: Boxed) -> dict[str, Any]:
    """The boxes of a mask file for machines."""
    if one.refusal is not None:
        return {"mask": str(one.source), "refused": one.refusal}
    size = {"width_px": one.size[1], "height_px": one.size[0]}
    return {"mask": str(one.source), "name": one.name, **size, "boxes": [plain_box(box) for box in one.boxes]}


def _row(one: Boxed, box: LabelledBox) -> list[str | int]:
    score = "" if box.score is None else f"{box.score:.4f}"
    return [str(one.source), one.name, box.label, *map(int, box.box.rounded()), score, one.size[1], one.size[0]]
