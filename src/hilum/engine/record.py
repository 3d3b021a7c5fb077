"""`export.json`: which bundle a `network.onnx` was made of, by what, and how near it comes to the network itself."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hilum.errors import BundleError
from hilum.files import sha256_file

NETWORK, EXPORT = "network.onnx", "export.json"
FILMS = "films"
"""The graph's input: (N, channels, H, W), normalised."""
FORMAT = 1


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Shift(_Closed):
    """How far the export's answers lie from those of torch in float32, on drawn frames."""

    frames: int = Field(ge=1)
    largest_logit: float = Field(ge=0)
    """Largest difference of any logit."""
    largest_probability: float = Field(ge=0, le=1)


class Export(_Closed):
    """`export.json`, key by key."""

    format: int
    bundle: str
    """The bundle's digest without notes: of all that it computes with."""
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
    try:
        export = Export.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} is no account of an export that this hilum can read") from error
    if export.format != FORMAT:
        raise BundleError(f"{file} is of format {export.format}, this hilum reads format {FORMAT}")
    if export.bundle != digest:
        raise BundleError(f"{file} belongs to another bundle: export this one again")
    if export.network != sha256_file(folder / NETWORK):
        raise BundleError(f"{folder / NETWORK} is damaged or changed: its hash does not match {EXPORT}")
    return export
