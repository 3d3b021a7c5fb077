"""Lungs of many films in parts: masks and overlays beside, a row a film."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hilum.lungs.films import lungs_bundle, segment_lungs
from hilum.lungs.heart import heart_bundle
from hilum.lungs.rows import row_of, schema
from hilum.lungs.writing import write_mask, write_overlay
from hilum.parts import Listed, LoadsOnce
from hilum.projection import ViewFilter

if TYPE_CHECKING:
    from hilum.bundle import Asked, SegmenterBundle


@dataclass(frozen=True, kw_only=True)
class LungsJob(LoadsOnce):
    """A row as `rows.row_of` makes it, `masks/NAME.png`, and where asked for `overlays/NAME.png`.

    Attributes:
        bundle: folder of a bundle in place of the one that comes with hilum.
        gate: whether films that do not look frontal are refused.
        heart: whether hearts are measured too.
        sides: whether masks tell right from left.
        overlay: whether overlays are written.
        engine: runs networks, as `lungs_bundle` takes it.
    """

    bundle: Path | None = None
    gate: bool = True
    heart: bool = False
    sides: bool = False
    overlay: bool = False
    engine: "Asked" = "auto"

    @cached_property
    def lungs(self) -> "SegmenterBundle":
        """The bundle that draws lungs."""
        return lungs_bundle(self.bundle, engine=self.engine)

    @cached_property
    def hearts(self) -> "SegmenterBundle | None":
        """The bundle that draws hearts, where they are asked for."""
        return heart_bundle(engine=self.engine) if self.heart else None

    @cached_property
    def view_filter(self) -> ViewFilter | None:
        """Refuses films, where it is to."""
        return ViewFilter(self.engine) if self.gate else None

    @property
    def engines(self) -> Mapping[str, str]:
        """Which engine runs each network, by what the network is for."""
        told = {"lungs": self.lungs.engine.name}
        told |= {"heart": self.hearts.engine.name} if self.hearts else {}
        return told | ({"view": self.view_filter.views.engine.name} if self.view_filter else {})

    @property
    def identity(self) -> Mapping[str, str]:
        return {
            "bundle": self.lungs.digest,
            "engine": ", ".join(f"{name} {engine}" for name, engine in self.engines.items()),
            "heart bundle": self.hearts.digest if self.hearts else "none",
            "view filter": self.view_filter.digest if self.view_filter else "none",
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
