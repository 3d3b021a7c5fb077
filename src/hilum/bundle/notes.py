"""What a bundle's card tells beyond its manifest: data, meanings of labels, misuse, failures drawn without pixels.

Notes are an optional file `notes.json` beside the manifest, which lists its hash: the bundle's digest covers them.
Films whose licences forbid copying them are shown by outlines alone.

References:
    Mitchell et al. 2019, Model Cards for Model Reporting, doi:10.1145/3287560.3287596.
    Mongan et al. 2020, Checklist for Artificial Intelligence in Medical Imaging (CLAIM), doi:10.1148/ryai.2020200029.
    Collins et al. 2024, TRIPOD+AI statement, doi:10.1136/bmj-2023-078378.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from hilum.bundle.format import MANIFEST, NOTES, OpenManifest, find_bundle, read_checked, sign_manifest
from hilum.bundle.segmenter import Figure
from hilum.errors import BundleError
from hilum.files import sha256_file, write_json

_NUMBER = r"(0?\.\d{1,4}|0|1)"
_POINT = rf"{_NUMBER} {_NUMBER}"
CONTOUR = rf"^(M{_POINT}(L{_POINT})+Z)+$"
"""Closed polygons and nothing else: what an outline may say is put into a page as it is."""

Told = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSet(_Closed):
    """Films trained on, from one source; None is not recorded, never none."""

    source: Told
    films: Count | None = None
    groups: Count | None = None
    licence: Told | None = None
    research_use: bool | None = None
    """Whether the films' licences let the bundle be used for research and teaching only."""
    labels_by: Told | None = None
    """Who gave the labels or drew the masks, and how."""


class FilmSet(_Closed):
    """How the films of some figures stand to the films trained on."""

    films: Told
    """As `Figure.films` says it."""
    training: Told = "this"
    """As `Figure.training` says it."""
    other_source: bool
    """Whether no film of their source was trained on."""
    words: Told | None = None


class Contour(_Closed):
    """Closed polygons on a film, in units of its width and height: `M.1 .2L.3 .4L.1 .6Z`, (0, 0) at the top left."""

    label: Told
    drawn_by: Literal["reference", "bundle"]
    path: str = Field(pattern=CONTOUR, max_length=20_000)


class Failure(_Closed):
    """A film the bundle does badly on, without a pixel of it."""

    film: str = Field(pattern=r"^[^/\\]+$")
    """Its file's name, without folders."""
    films: Told | None = None
    """Which figures it is among, as `Figure.films` says it."""
    metric: Told
    value: float | None = None
    reason: Told | None = None
    """Why, in words, where somebody looked."""
    aspect: float = Field(default=1.0, ge=0.1, le=10)
    """The film's width over its height."""
    contours: tuple[Contour, ...] = ()


class _FirstAnswers(_Closed):
    patients: Told | None = None
    devices: Told | None = None
    places: Told | None = None
    eligibility: Told | None = None
    reference_standard: Told | None = None
    sample_size: Told | None = None
    subgroups: Told | None = None
    practice: Told | None = None
    ethics: Told | None = None
    contact: Told | None = None


class Answers(_FirstAnswers):
    """What reporting checklists ask and nothing in a bundle can know; what each means is in `hilum.card.asked`."""

    background: Told | None = None
    users: Told | None = None
    fairness: Told | None = None
    design: Told | None = None
    representativeness: Told | None = None
    deidentification: Told | None = None
    missing_data: Told | None = None
    acquisition: Told | None = None
    treatments: Told | None = None
    reference_rationale: Told | None = None
    annotators: Told | None = None
    blinding: Told | None = None
    test_annotation: Told | None = None
    agreement: Told | None = None
    flow: Told | None = None
    partitions: Told | None = None
    selection: Told | None = None
    thresholds: Told | None = None
    robustness: Told | None = None
    explanations: Told | None = None
    updating: Told | None = None
    limitations: Told | None = None
    registration: Told | None = None
    protocol: Told | None = None
    data_availability: Told | None = None
    code_availability: Told | None = None
    involvement: Told | None = None

    @model_serializer(mode="wrap")
    def _as_written(self, write: SerializerFunctionWrapHandler) -> dict[str, str | None]:
        """The first fields always, later ones where told: bundles noted before them keep their digests."""
        always = _FirstAnswers.model_fields
        return {key: told for key, told in write(self).items() if told is not None or key in always}


class Notes(_Closed):
    """`notes.json`, key by key; anything more is refused, and what is left out is not recorded."""

    data: tuple[DataSet, ...] = ()
    labels: dict[str, Told] = Field(default_factory=dict)
    """Label or class -> what it means."""
    split: Told | None = None
    views: Told | None = None
    """Which views the bundle is made for."""
    refused: tuple[Told, ...] = ()
    """What it refuses, a sentence each."""
    misuse: tuple[Told, ...] = ()
    """What it must not be used for, a sentence each."""
    figures: tuple[Figure, ...] = ()
    """Beside those the manifest has."""
    film_sets: tuple[FilmSet, ...] = ()
    failures: tuple[Failure, ...] = ()
    answers: Answers = Answers()


def with_notes(path: Path, notes: Notes | None) -> str:
    """Give a bundle these notes in place of any it has, and return its new digest; weights are not touched.

    Interrupted at any point it leaves a bundle that loads, with its former notes, with none or with these. An audit
    that is attached stays so: notes change nothing that was audited.

    Args:
        path: of the bundle or its run.
        notes: to write; None takes them away.

    Raises:
        BundleError: the bundle is not what it claims to be.
    """
    folder = find_bundle(path)
    read_checked(folder, None, OpenManifest)
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = {name: sha256 for name, sha256 in told["files"].items() if name != NOTES}
    # Without notes first: between two renames a manifest would name the hash of notes that are not there.
    digest = sign_manifest(folder, {**told, "files": files}) if NOTES in told["files"] else str(told["digest"])
    if notes is None:
        (folder / NOTES).unlink(missing_ok=True)
        return digest
    write_json(folder / NOTES, notes.model_dump(mode="json"))
    return sign_manifest(folder, {**told, "files": {**files, NOTES: sha256_file(folder / NOTES)}})


def read_notes(path: Path) -> Notes | None:
    """A bundle's notes, checked; None where its manifest lists none, whatever lies beside it.

    Raises:
        BundleError: tampered with, damaged, or not of this form.
    """
    folder = find_bundle(path)
    if NOTES not in read_checked(folder, None, OpenManifest).files:
        return None
    try:
        return Notes.model_validate_json((folder / NOTES).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder / NOTES} holds no notes this hilum can read{_keys(error)}") from error


def _keys(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return ""
    return f" (wrong: {', '.join('.'.join(map(str, problem['loc'])) for problem in error.errors())})"
