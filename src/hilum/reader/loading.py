"""Classifiers, each with what is attached to it: its audit, and the films it can be held against."""

from dataclasses import dataclass
from pathlib import Path

from hilum.bundle import Asked, Bundle, SegmenterBundle, bundle_folder, load_bundle, passed_or_exact
from hilum.bundle.format import digest_without_notes
from hilum.errors import UsageError
from hilum.predict import lungs_for, views_read
from hilum.projection import tells_views
from hilum.records import View
from hilum.reference import Reference, reference_of


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """One classifier.

    Attributes:
        name: of a bundle that comes with hilum, else of its folder or its run's.
        bundle: ready to use.
        reference: the films behind it; None where none are attached.
        verdict: of the audit attached to it; None where none is.
        headline: its score and verdict in one line.
    """

    name: str
    bundle: Bundle
    reference: Reference | None
    verdict: str | None
    headline: str

    @property
    def title(self) -> str:
        """The bundle's."""
        return self.bundle.title

    @property
    def digest(self) -> str:
        """The bundle's."""
        return self.bundle.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels it tells."""
        return self.bundle.classes


def load(named: Path | str, lungs: SegmenterBundle, *, engine: Asked = "auto") -> Loaded:
    """A classifier by its folder, its run's, or the name of one that comes with hilum.

    Args:
        named: which.
        lungs: the bundle that draws lungs.
        engine: as `load_bundle` takes it; one that needs a check runs only where it was passed, in float32 elsewhere.

    Raises:
        BundleError: the bundle, or what is attached to it, is damaged or another's.
        UsageError: it tells views, or reads other films than frontal ones, or by masks that are not at hand.
    """
    from hilum.audit.attached import known_of_bundle, line_of_bundle

    folder = bundle_folder(named)
    bundle = load_bundle(folder, engine=passed_or_exact(folder, engine))
    if tells_views(bundle.classes):
        raise UsageError(f"{named} tells views of films, and no findings; ask it with: hilum view")
    if views_read(bundle.recipe.films) != (View.FRONTAL,):
        raise UsageError(f"{bundle.title}: it was not made for frontal films alone; ask it with: hilum predict")
    if bundle.preprocess.masked and bundle.preprocess.masks == "given":
        raise UsageError(
            f"{bundle.title}: it needs lung masks that a source gives (preprocess.lungs = "
            f"'{bundle.preprocess.lungs}'); score it on an index that names them: hilum evaluate RUN --index FILE"
        )
    if bundle.preprocess.masked:
        lungs_for(bundle, lungs)
    known = known_of_bundle(folder)
    return Loaded(
        name=folder.parent.name if folder.name == "bundle" else folder.name,
        bundle=bundle,
        reference=reference_of(folder, digest=digest_without_notes(folder), classes=len(bundle.classes)),
        verdict=known.audit.verdict.value if known.audit else None,
        headline=line_of_bundle((bundle.evaluation or {}).get("headline"), known),
    )
