"""A server to test: a reader that looks at brightness alone, and films drawn for it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from hilum.records import DISCLAIMER
from hilum.serve.app import create_app
from hilum.serve.decoder import DecodedFilm
from hilum.serve.reading import Answer, Told
from hilum.serve.schema import ServedBundle
from hilum.serve.settings import Settings

from .pixels.test_raster import png

BUNDLE = ServedBundle(
    name="bright",
    title="Bright films",
    digest="ab" * 32,
    classes=["bright", "dark"],
    headline="AUROC 0.9",
    verdict="FAIL",
)
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class BrightReader:
    """Bright films are positive, dark ones negative, those between inconclusive.

    Attributes:
        sizes: as a reader's.
        free: films are read while it is set.
        seen: names of the films read.
        fails: raised in place of an answer.
    """

    def __init__(self) -> None:
        self.sizes: Sequence[int] = ()
        self.free = threading.Event()
        self.free.set()
        self.reading = threading.Semaphore(0)
        self.seen: list[str] = []
        self.fails: Exception | None = None

    def read(self, film: DecodedFilm, *, name: str, sha256: str, pictures: bool, drawn: bool) -> Told:
        self.seen.append(name)
        self.reading.release()
        self.free.wait(60)
        if self.fails:
            raise self.fails
        answer = told(film, name, sha256)
        if pictures:
            answer["pictures"] = {"film": PIXEL}
            answer["answers"][0]["map"]["picture"] = PIXEL
        label = answer["answers"][0]["label"]
        return Told(answer=answer, drawn=(f"{name}__{label}.png", png(bright())) if drawn else None)


def told(film: DecodedFilm, name: str, sha256: str) -> Answer:
    """An answer of the shape a reader's has."""
    bright = float(film.by[max(film.by)].mean())
    outcome = "POSITIVE" if bright > 0.6 else "NEGATIVE" if bright < 0.4 else "INCONCLUSIVE"
    findings = [
        {
            "label": label,
            "probability": value,
            "low": max(0.0, value - 0.1),
            "high": min(1.0, value + 0.1),
            "threshold": 0.5,
        }
        for label, value in (("bright", bright), ("dark", 1 - bright))
    ]
    return {
        "film": {
            "name": name,
            "sha256": sha256,
            "height": film.facts.height,
            "width": film.facts.width,
            "format": film.facts.format.lower(),
        },
        "outcome": outcome,
        "refusal": None,
        "notes": ["the film was drawn"],
        "view": {"view": "frontal", "probability": 0.9},
        "lungs": {"outlines": {"right": [], "left": []}, "measures": {}, "flags": []},
        "lesions": None,
        "severity": None,
        "answers": [
            {
                "bundle": BUNDLE.name,
                "title": BUNDLE.title,
                "digest": BUNDLE.digest,
                "outcome": outcome,
                "label": "bright" if bright > 0.5 else "dark",
                "findings": findings,
                "interval": "a tenth to either side",
                "reasons": ["neither bright nor dark"] if outcome == "INCONCLUSIVE" else [],
                "verdict": BUNDLE.verdict,
                "headline": BUNDLE.headline,
                "map": {"in_lungs": 0.5, "lungs_area": 0.4, "no_map": None},
            }
        ],
        "seconds": {"read": 0.0},
        "disclaimer": DISCLAIMER,
    }


def film(low: int, high: int, side: int = 64) -> bytes:
    """A PNG between two grey values."""
    ramp = np.linspace(low, high, side * side).reshape(side, side)
    return png(Image.fromarray(np.round(ramp).astype(np.uint8)))


def bright() -> Image.Image:
    return Image.fromarray(np.round(np.linspace(200, 255, 64 * 64).reshape(64, 64)).astype(np.uint8))


BRIGHT, DARK, GREY = film(180, 255), film(0, 80), film(90, 165)


@contextmanager
def serving(reader: BrightReader | None = None, **limits: Any) -> Iterator[TestClient]:
    """A client of a server that is up."""
    settings = Settings(**{"per_minute": 10_000, **limits})
    app = create_app(reader or BrightReader(), [BUNDLE], settings)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def films(*contents: bytes, field: str = "films", name: str = "a.png") -> list[tuple[str, tuple[str, bytes]]]:
    """Films as httpx takes the files of a form."""
    return [(field, (name, content)) for content in contents]


BOUNDARY = "between"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str | None, bytes], end: bool = True) -> bytes:
    """A multipart body of fields, file names and contents, byte by byte as told."""
    body = b""
    for field, name, content in parts:
        named = "" if name is None else f'; filename="{name}"'
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'.encode()
            + content
            + b"\r\n"
        )
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")
