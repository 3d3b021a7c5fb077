"""`export.json`: which bundle a `network.onnx` was made of, by what, and how near it comes to the network itself."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hilum.errors import BundleError
from hilum.files import sha256_file

NETWORK, EXPORT = "network.onnx", "export.json"
FILMS = "films"
"""The graph's input: (N, channels, H, W), normalised."""
FORMAT = 1


class Closed(BaseModel):
    """No keys but its own, and no number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OfBundle(Closed):
    """What a file beside a bundle says of itself."""

    format: int
    bundle: str
    """The bundle's digest without notes: of all that it computes with."""


class Shift(Closed):
    """How far the export's answers lie from those of torch in float32, on drawn frames."""

    frames: int = Field(ge=1)
    largest_logit: float = Field(ge=0)
    """Largest difference of any logit."""
    largest_probability: float = Field(ge=0, le=1)


class Export(OfBundle):
    """`export.json`, key by key."""

    network: str
    """SHA-256 of `network.onnx`."""
    opset: int = Field(ge=1)
    outputs: tuple[str, ...]
    versions: dict[str, str]
    shift: Shift


def read_export(folder: Path, digest: str) -> Export:
    """The checked account of a bundle's export.

    Args:
        folder: the bundle's.
        digest: the bundle's without notes.

    Raises:
        BundleError: there is none, it is of another bundle or format, or its graph was changed.
    """
    file = folder / EXPORT
    if not file.is_file() or not (folder / NETWORK).is_file():
        raise BundleError(f"{folder} has no export for ONNX Runtime ({NETWORK} with {EXPORT})")
    export = read_of_bundle(file, Export, FORMAT, digest, is_a="account of an export", remedy="export this one again")
    if export.network != sha256_file(folder / NETWORK):
        raise BundleError(f"{folder / NETWORK} is damaged or changed: its hash does not match {EXPORT}")
    return export


Kind = TypeVar("Kind", bound=OfBundle)


def read_of_bundle(file: Path, kind: type[Kind], wanted: int, digest: str, *, is_a: str, remedy: str) -> Kind:
    """A file beside a bundle, checked to be of this bundle.

    Args:
        file: JSON, which is there.
        kind: its keys.
        wanted: the format that is read.
        digest: the bundle's without notes.
        is_a: what the file is, in words.
        remedy: what to do where it is another bundle's.

    Raises:
        BundleError: it is none of its kind, or of another format or bundle.
    """
    try:
        told = kind.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} is no {is_a} that this hilum can read") from error
    if told.format != wanted:
        raise BundleError(f"{file} is of format {told.format}, this hilum reads format {wanted}")
    if told.bundle != digest:
        raise BundleError(f"{file} belongs to another bundle: {remedy}")
    return told
