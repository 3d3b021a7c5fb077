"""What jobs over many films share: networks run by one kind of engine, and a filter before them that refuses films."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hilum.parts import LoadsOnce
from hilum.projection import ViewFilter

if TYPE_CHECKING:
    from hilum.bundle import Asked, Bundle, SegmenterBundle


@dataclass(frozen=True, kw_only=True)
class GatedJob(LoadsOnce, ABC):
    """A job whose films the view filter looks at first.

    Attributes:
        gate: whether films are refused that do not look like what the networks read.
        engine: runs networks, as `load_bundle` takes it.
    """

    gate: bool = True
    engine: "Asked" = "auto"

    @property
    @abstractmethod
    def networks(self) -> Mapping[str, "Bundle | SegmenterBundle"]:
        """The bundles behind the filter that this engine runs, by what each is for."""

    @cached_property
    def view_filter(self) -> ViewFilter | None:
        """Refuses films, where it is to."""
        return ViewFilter(self.engine) if self.gate else None

    @property
    def engines(self) -> Mapping[str, str]:
        """Which engine runs each network, by what the network is for."""
        told = {name: bundle.engine.name for name, bundle in self.networks.items()}
        return told | ({"view": self.view_filter.views.engine.name} if self.view_filter else {})

    @property
    def identity(self) -> Mapping[str, str]:
        """What answers depend on; a job adds its own bundles and options."""
        return {
            "engine": ", ".join(f"{name} {engine}" for name, engine in self.engines.items()),
            "view filter": self.view_filter.digest if self.view_filter else "none",
        }
