"""Lungs of many films in parts: masks and overlays beside, a row a film."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hilum.gated_job import GatedJob
from hilum.lungs.films import lungs_bundle, segment_lungs
from hilum.lungs.heart import heart_bundle
from hilum.lungs.rows import row_of, schema
from hilum.lungs.writing import write_mask, write_overlay
from hilum.parts import Listed

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle


@dataclass(frozen=True, kw_only=True)
class LungsJob(GatedJob):
    """A row as `rows.row_of` makes it, `masks/NAME.png`, and where asked for `overlays/NAME.png`.

    Attributes:
        bundle: folder of a bundle in place of the one that comes with hilum.
        heart: whether hearts are measured too.
        sides: whether masks tell right from left.
        overlay: whether overlays are written.
    """

    bundle: Path | None = None
    heart: bool = False
    sides: bool = False
    overlay: bool = False

    @cached_property
    def lungs(self) -> "SegmenterBundle":
        """The bundle that draws lungs."""
        return lungs_bundle(self.bundle, engine=self.engine)

    @cached_property
    def hearts(self) -> "SegmenterBundle | None":
        """The bundle that draws hearts, where they are asked for."""
        return heart_bundle(engine=self.engine) if self.heart else None

    @property
    def networks(self) -> Mapping[str, "SegmenterBundle"]:
        return {"lungs": self.lungs} | ({"heart": self.hearts} if self.hearts else {})

    @property
    def identity(self) -> Mapping[str, str]:
        return {
            **super().identity,
            "bundle": self.lungs.digest,
            "heart bundle": self.hearts.digest if self.hearts else "none",
            "kind of mask": "sides" if self.sides else "both lungs",
            "set of pictures": "overlays" if self.overlay else "none",
        }

    @property
    def schema(self) -> pa.Schema:
        return schema()

    def rows(
        self, films: Sequence[tuple[Path, Listed]], out: Path, *, processes: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """One row a film, in their order, whose mask and overlay are already in `out`."""
        made = segment_lungs(
            [path for path, _ in films],
            bundle=self.lungs,
            heart=self.hearts,
            gate=self.view_filter,
            processes=processes,
        )
        for lungs, (_, film) in zip(made, films, strict=True):
            name = f"{film.name}.png"
            write_mask(lungs, out / "masks" / name, sides=self.sides)
            if self.overlay:
                write_overlay(lungs, out / "overlays" / name)
            yield row_of(lungs, None if lungs.refusal else f"masks/{name}") | {"film": film.path}
