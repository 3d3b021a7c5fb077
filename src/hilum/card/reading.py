"""A bundle's folder in, its card out: what the manifest and the notes say, and blanks for what they do not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hilum.audit.attached import known_of_bundle, line_of_bundle
from hilum.bundle import MANIFEST, Figure, find_bundle
from hilum.bundle.format import OpenManifest, read_checked
from hilum.bundle.notes import Notes, read_notes
from hilum.card import audited, sections
from hilum.card.content import Card, Measured, Standing
from hilum.errors import BundleError
from hilum.recipe import toml_of


def read_card(path: Path) -> Card:
    """The card of a bundle of any kind; hashes are checked, the network is not built.

    Raises:
        BundleError: the bundle is not what it claims to be.
    """
    folder = find_bundle(path)
    manifest, notes = read_checked(folder, None, OpenManifest), read_notes(folder) or Notes()
    extra: Mapping[str, Any] = manifest.model_extra or {}
    measured = _measured(folder, extra, notes)
    said = (extra.get("evaluation") or {}).get("headline")
    audit = known_of_bundle(folder) if manifest.kind == "classifier" else None
    return Card(
        title=manifest.title,
        kind=manifest.kind,
        digest=manifest.digest,
        disclaimer=manifest.disclaimer,
        headline=line_of_bundle(said, audit) if audit and (said or audit.audit) else said,
        audit=audit,
        sections=(
            sections.what_it_is(manifest, extra, notes),
            sections.use(manifest, notes),
            sections.takes(manifest, extra, notes),
            sections.data(manifest, notes),
            sections.training(manifest, notes),
            sections.performance(extra, measured),
            *([audited.section_of(audit)] if audit else []),
            sections.failing(notes),
            sections.unknowns(notes),
            sections.origin(manifest),
        ),
        measured=measured,
        failures=notes.failures,
        recipe=toml_of(manifest.recipe),
    )


def _measured(folder: Path, extra: Mapping[str, Any], notes: Notes) -> tuple[Measured, ...]:
    known = {(one.films, one.training): one for one in notes.film_sets}
    found = []
    for figure in (*_figures(folder, extra.get("figures") or ()), *notes.figures):
        told = known.get((figure.films, figure.training))
        standing: Standing = "unknown" if told is None else "other" if told.other_source else "same"
        found.append(Measured(figure=figure, standing=standing, words=told.words if told else None))
    return tuple(found)


def _figures(folder: Path, told: Sequence[Any]) -> list[Figure]:
    try:
        return [Figure.model_validate(one) for one in told]
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST} has figures this hilum cannot read; use a newer hilum") from error
