"""Many films, decoded ahead in other processes, read one after the other in this one; a row for each, come what may."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hilum.errors import UnreadableFilm
from hilum.parallel import CRASHED, Crashed, in_order
from hilum.reader.chain import Reader
from hilum.reader.decoding import Decoded, decode, refusal_of
from hilum.reader.reading import Reading, Refusal


def read_films(
    reader: Reader, films: Sequence[Path], *, processes: int | None = None
) -> Iterator[tuple[Path, Reading]]:
    """A reading for each film, in the order given; a film that cannot be read is a refusal, never an exception.

    Args:
        reader: reads them.
        films: files.
        processes: how many decode at once; default one a core, and this one alone for few films.
    """
    work = partial(_decoded, sizes=reader.sizes)
    for film, decoded in in_order(work, films, processes=processes):
        if isinstance(decoded, Crashed):
            yield film, Reading(name=film.name, refusal=Refusal("not-readable", f"{film.name}: {CRASHED}"))
        elif isinstance(decoded, Refusal):
            yield film, Reading(name=film.name, refusal=decoded)
        else:
            yield film, _read(reader, decoded, film.name)


def _decoded(film: Path, *, sizes: Sequence[int]) -> Decoded | Refusal:
    try:
        return decode(film, sizes)
    except UnreadableFilm as error:
        return refusal_of(error, film.name)


def _read(reader: Reader, decoded: Decoded, name: str) -> Reading:
    try:
        return reader.read_decoded(decoded, name=name)
    except MemoryError:
        return Reading(name=name, refusal=Refusal("too-large", f"{name} is too large for the memory there is"))
