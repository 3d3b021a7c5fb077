"""Lesions of many films in parts: masks and overlays beside, a row a film."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from hilum.gated_job import GatedJob
from hilum.lesions.films import Lesions, lesions_bundle, segment_lesions
from hilum.lesions.rows import row_of, schema
from hilum.lesions.writing import write_masks
from hilum.lesions.zones import LESIONS
from hilum.lungs import lungs_bundle
from hilum.parts import Listed

if TYPE_CHECKING:
    from hilum.bundle import DetectorBundle, SegmenterBundle


class Draw(Protocol):
    """Writes a film's overlay, as `hilum.report.lesions.write_overlay` does: a module's function, which travels."""

    def __call__(self, lesions: Lesions, path: Path, *, boxes: bool) -> None:
        """Write a PNG of a film with its lesions, with its boxes where they are asked for."""


@dataclass(frozen=True, kw_only=True)
class LesionsJob(GatedJob):
    """A row as `rows.row_of` makes it, `masks/NAME-LABEL.png`, and where something draws it `overlays/NAME.png`.

    Attributes:
        bundle: folder of a bundle in place of the one that comes with hilum.
        detector: folder of the bundle that draws boxes in place of those around masks.
        overlay: draws overlays.
        boxes: whether overlays show boxes.
    """

    bundle: Path | None = None
    detector: Path | None = None
    overlay: Draw | None = None
    boxes: bool = False

    @cached_property
    def lesions(self) -> "SegmenterBundle":
        """The bundle that draws lesions."""
        return lesions_bundle(self.bundle, engine=self.engine)

    @cached_property
    def lungs(self) -> "SegmenterBundle":
        """The bundle that draws the lungs around them."""
        return lungs_bundle(engine=self.engine)

    @cached_property
    def boxer(self) -> "DetectorBundle | None":
        """The bundle that draws boxes, where one is named."""
        from hilum.bundle import load_detector

        return load_detector(self.detector) if self.detector else None

    @property
    def box_labels(self) -> tuple[str, ...]:
        """What boxes are around."""
        return tuple(self.boxer.labels) if self.boxer else LESIONS

    @property
    def networks(self) -> Mapping[str, "SegmenterBundle"]:
        return {"lesions": self.lesions, "lungs": self.lungs}

    @property
    def identity(self) -> Mapping[str, str]:
        return {
            **super().identity,
            "bundle": self.lesions.digest,
            "lungs bundle": self.lungs.digest,
            "detector": self.boxer.digest if self.boxer else "none",
            "set of pictures": ("overlays with boxes" if self.boxes else "overlays") if self.overlay else "none",
        }

    @property
    def schema(self) -> pa.Schema:
        return schema()

    def rows(
        self, films: Sequence[tuple[Path, Listed]], out: Path, *, processes: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """One row a film, in their order, whose masks and overlay are already in `out`."""
        made = segment_lesions(
            [path for path, _ in films],
            bundle=self.lesions,
            lungs=self.lungs,
            detector=self.boxer,
            gate=self.view_filter,
            processes=processes,
        )
        for lesions, (_, film) in zip(made, films, strict=True):
            write_masks(lesions, out / "masks", film.name)
            if self.overlay:
                self.overlay(lesions, out / "overlays" / f"{film.name}.png", boxes=self.boxes)
            yield row_of(lesions, film.name) | {"film": film.path}
