"""Predictions of many films in parts: a row a film, and where asked for films with their result drawn on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.bundle import Bundle, SegmenterBundle, bundle_folder, load_bundle, passed_or_exact
from hilum.gated_job import GatedJob
from hilum.lungs import lungs_bundle
from hilum.parts import Listed
from hilum.predict import lungs_for, predict_films
from hilum.records import Finding, Prediction

if TYPE_CHECKING:
    import pyarrow as pa

Draw = Callable[[Prediction, Path, str], Path]
"""Writes a film with its result into a folder, told a name that no other film has; a module's function, so that it
travels."""


@dataclass(frozen=True, kw_only=True)
class PredictJob(GatedJob):
    """A row of decision, probabilities and thresholds a film.

    Attributes:
        bundle: its folder, or the name of one that comes with hilum, wherever that is installed.
        annotate: draws films with their result, and where to.
    """

    bundle: Path | str
    annotate: tuple[Draw, Path] | None = None

    @cached_property
    def loaded(self) -> Bundle:
        """The bundle."""
        folder = bundle_folder(self.bundle)
        return load_bundle(folder, engine=passed_or_exact(folder, self.engine))

    @cached_property
    def lungs(self) -> SegmenterBundle | None:
        """Draws the lungs that the bundle reads films by, where it does."""
        preprocess = self.loaded.preprocess
        made = preprocess.masked and preprocess.masks != "given"
        return lungs_for(self.loaded, lungs_bundle(engine=self.engine)) if made else None

    @property
    def networks(self) -> Mapping[str, Bundle | SegmenterBundle]:
        return {"classifier": self.loaded} | ({"lungs": self.lungs} if self.lungs else {})

    @property
    def identity(self) -> Mapping[str, str]:
        return {
            **super().identity,
            "bundle": self.loaded.digest,
            "lungs bundle": self.lungs.digest if self.lungs else "none",
            "folder of pictures": str(self.annotate[1].resolve()) if self.annotate else "none",
        }

    @property
    def schema(self) -> "pa.Schema":
        import pyarrow as pa  # a tenth of a second, for those who keep rows in parts only

        numbers = [pa.field(f"{kind}.{name}", pa.float64()) for kind in ("p", "threshold") for name in self._classes]
        texts = [pa.field(name, pa.string()) for name in ("decided", "refused", "bundle")]
        return pa.schema([texts[0], *numbers, *texts[1:]])

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(self.loaded.classes)

    def rows(
        self, films: Sequence[tuple[Path, Listed]], out: Path, *, processes: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """One row a film, in their order, whose picture is already drawn; nothing is written to `out`."""
        del out
        paths = [path for path, _ in films]
        made = predict_films(self.loaded, paths, processes=processes, gate=self.view_filter, lungs=self.lungs)
        for prediction, (_, film) in zip(made, films, strict=True):
            if self.annotate and prediction.refusal is None:
                draw, folder = self.annotate
                draw(prediction, folder, film.name)
            yield row_of(prediction) | {"film": film.path}


def row_of(prediction: Prediction) -> dict[str, Any]:
    """A prediction as a row: film, decided, `p.CLASS`, `threshold.CLASS`, refused, bundle."""
    row: dict[str, Any] = {"film": prediction.film, "decided": prediction.decided}
    row |= {f"p.{finding.label}": finding.probability for finding in prediction.findings}
    row |= {f"threshold.{finding.label}": finding.threshold for finding in prediction.findings}
    return row | {"refused": prediction.refusal, "bundle": prediction.bundle_digest}


def prediction_of(row: Mapping[str, Any], classes: Sequence[str]) -> Prediction:
    """The prediction that a row was made of."""
    told = () if row["refused"] is not None else classes
    return Prediction(
        film=row["film"],
        bundle_digest=row["bundle"],
        decided=row["decided"],
        findings=tuple(
            Finding(label=name, probability=row[f"p.{name}"], threshold=row[f"threshold.{name}"]) for name in told
        ),
        refusal=row["refused"],
    )
