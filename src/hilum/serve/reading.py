"""What the server asks of a reader, and `hilum.reader` in these terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hilum.records import DISCLAIMER
from hilum.serve.decoder import DecodedFilm

if TYPE_CHECKING:
    from hilum.reader import Reader

Answer = dict[str, Any]
"""What `hilum.reader.as_json` makes of one film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A film's answer, and the picture to keep with it, as PNG under a name that carries label and probability."""

    answer: Answer
    drawn: tuple[str, bytes] | None = None


class FilmReader(Protocol):
    """Reads decoded films; may be called by several threads at once."""

    @property
    def sizes(self) -> Sequence[int]:
        """Which sizes, in pixels of the shorter side, films are reduced to: large JPEGs are decoded for these."""

    def read(self, film: DecodedFilm, *, name: str, sha256: str, pictures: bool, drawn: bool) -> Told:
        """One film read, with pictures in the answer and a picture to keep where asked for."""


class WithReader:
    """`hilum.reader.Reader` for the server."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    @property
    def sizes(self) -> Sequence[int]:
        return self._reader.sizes

    def read(self, film: DecodedFilm, *, name: str, sha256: str, pictures: bool, drawn: bool) -> Told:
        from hilum.reader import annotated, annotated_name, as_json
        from hilum.reader.decoding import Decoded

        reading = self._reader.read_decoded(Decoded(film.facts, film.by, sha256), name=name)
        picture = (annotated_name(reading), annotated(reading)) if drawn and reading.pixels is not None else None
        return Told(answer=as_json(reading, pictures=pictures), drawn=picture)


def refused(name: str, sha256: str, kind: str, says: str) -> Answer:
    """The answer for a film that no reader has seen."""
    return {
        "film": {"name": name, "sha256": sha256, "height": None, "width": None, "format": None},
        "outcome": "REFUSED",
        "refusal": {"kind": kind, "says": says},
        "notes": [],
        "view": None,
        "lungs": None,
        "lesions": None,
        "severity": None,
        "answers": [],
        "seconds": {},
        "disclaimer": DISCLAIMER,
    }
