"""The page and what it loads: rendered from templates that escape everything, from this package alone."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import hilum
from hilum.records import DISCLAIMER

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
COLOURS = {"POSITIVE": "red", "NEGATIVE": "yellow", "INCONCLUSIVE": "grey"}
"""The class of a verdict. An inconclusive film is not green: it is nobody's all-clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that the page loads."""

    content: bytes
    type: str
    digest: str

    @property
    def integrity(self) -> str:
        """What a browser holds the file against (W3C Subresource Integrity)."""
        return f"sha384-{base64.b64encode(hashlib.sha384(self.content).digest()).decode()}"


@cache
def assets() -> Mapping[str, Asset]:
    """Every file there is to load, by name: a name that is not here is not looked for anywhere."""
    found = {}
    for file in files("hilum.serve").joinpath("page", "static").iterdir():
        kind = TYPES.get(f".{file.name.rpartition('.')[2]}")
        if kind and file.is_file():
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:16]
            found[file.name] = Asset(content=content, type=kind, digest=digest)
    return found


def address(name: str) -> str:
    """The address of an asset, which changes with its content."""
    return f"/static/{name}?v={assets()[name].digest}"


def integrity(name: str) -> str:
    """An asset's digest for an `integrity` attribute."""
    return assets()[name].integrity


def page(**content: Any) -> str:
    """The page, everything in `content` escaped."""
    return _environment().get_template("page.html.j2").render(**content)


def verdict(answer: Mapping[str, Any]) -> str:
    """What the page says of a film: what was refused is inconclusive there."""
    outcome = str(answer["outcome"])
    return outcome if outcome in COLOURS else "INCONCLUSIVE"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hilum.serve", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        address=address,
        integrity=integrity,
        verdict=verdict,
        colours=COLOURS,
        disclaimer=DISCLAIMER,
        version=hilum.__version__,
    )
    return environment
