"""The process that decodes films and does nothing else: what a film does to it, it does to nobody else.

It reads films from its standard input and answers on its standard output, each message its length in 8 bytes and the
message; the answer's head is JSON, the pixels follow as float32. A large JPEG is decoded once for each size it will be
reduced to, as networks were taught (`hilum.pixels.read_film`); all else is decoded once.

Its address space and its processor time are bounded, it cannot write a byte to any file, and it leaves no core file.
Whatever codecs print, names of patients among it, goes nowhere.
"""

import dataclasses
import json
import os
import resource
import struct
import sys
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hilum.errors import UnreadableFilm
from hilum.pixels import FilmFacts, read_film
from hilum.serve.settings import DecodingLimits

LENGTH = struct.Struct(">Q")
FACTS = TypeAdapter(FilmFacts)
NO_MEMORY = "too large: the film needs more memory to decode than a film may take"
BEYOND = "damaged: the film cannot be decoded"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DecodedFilm:
    """A film's facts, and its pixels (H, W) in [0, 1] by how much they were reduced while decoding; 1 is whole."""

    facts: FilmFacts
    by: dict[int, NDArray[np.float32]]


def main() -> None:
    """Decode films until there are no more."""
    films, answers = _private_streams()
    memory_mb, cpu_s, *sizes = (int(word) for word in sys.argv[1:])
    _warm_up()
    _confine(memory_mb)
    _send(answers, {"ready": True})
    while (film := _next(films)) is not None:
        _allow_cpu(cpu_s)
        if not _answer(answers, film, sizes):
            return


def command(limits: DecodingLimits, sizes: Sequence[int]) -> list[str]:
    """What starts the process."""
    numbers = (limits.memory_mb, limits.cpu_s, *sizes)
    return [sys.executable, "-P", "-m", "hilum.serve.decoder", *map(str, numbers)]


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """The two ends of the pipe, out of reach of libraries that print."""
    films, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    return films, answers


def _warm_up() -> None:
    """Load every codec before the first film comes."""
    import cv2

    from hilum.pixels import dicom_display, dicom_pixels, raster  # noqa: F401 - loaded on the first film otherwise

    cv2.setNumThreads(1)


def _confine(memory_mb: int) -> None:
    space = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    for none in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(none, (0, 0))


def _allow_cpu(seconds: int) -> None:
    """So much more than was used so far: the limit counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _next(films: BinaryIO) -> bytes | None:
    head = films.read(LENGTH.size)
    return films.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _answer(answers: BinaryIO, film: bytes, sizes: Sequence[int]) -> bool:
    """Answer for one film; False where this process should not be used any more."""
    try:
        decoded = _decoded(film, sizes)
        head = {
            "facts": FACTS.dump_python(decoded.facts, mode="json"),
            "shapes": {by: pixels.shape for by, pixels in decoded.by.items()},
        }
        _send(answers, head, *(pixels.data.cast("B") for pixels in decoded.by.values()))
    except UnreadableFilm as error:
        _send(answers, {"refused": str(error)})
    except MemoryError:
        _send(answers, {"refused": NO_MEMORY})
        return False
    except Exception:  # noqa: BLE001 - what a codec raises may quote the film
        _send(answers, {"refused": BEYOND})
        return False
    return True


def _decoded(film: bytes, sizes: Sequence[int]) -> DecodedFilm:
    first = read_film(film, at_least_px=max(sizes, default=None))
    by = {_reduced(first.facts, size): size for size in sorted(sizes, reverse=True)}
    pixels = {_reduced(first.facts, max(sizes, default=None)): first.pixels}
    for reduction, size in by.items():
        if reduction not in pixels:
            pixels[reduction] = read_film(film, at_least_px=size).pixels
    # Who it is and when it was taken are nobody's business in the server.
    facts = dataclasses.replace(first.facts, patient_id=None, acquired=None)
    return DecodedFilm(facts, {by: np.ascontiguousarray(one, dtype="<f4") for by, one in pixels.items()})


def _reduced(facts: FilmFacts, size_px: int | None) -> int:
    from hilum.pixels.raster import reduction

    return reduction(facts.width, facts.height, size_px) if facts.format == "JPEG" and size_px else 1


def _send(answers: BinaryIO, head: dict[str, object], *pixels: memoryview) -> None:
    text = json.dumps(head).encode()
    answers.write(LENGTH.pack(len(text)) + text + LENGTH.pack(sum(map(len, pixels))))
    answers.writelines(pixels)
    answers.flush()


def film_of(head: bytes, pixels: bytearray) -> DecodedFilm:
    """The film in an answer, checked: the process may have been taken over by a film.

    Raises:
        UnreadableFilm: the film was refused.
        ValueError: the answer is none.
    """
    told = json.loads(head)
    if "refused" in told:
        raise UnreadableFilm(str(told["refused"])[:300])
    flat, by, start = np.frombuffer(pixels, "<f4"), {}, 0
    if not (flat.size and flat.min() >= 0 and flat.max() <= 1):  # NaN fails both
        raise ValueError("pixels outside [0, 1]")
    for reduction, shape in told["shapes"].items():
        height, width = (int(side) for side in shape)
        by[int(reduction)] = flat[start : start + height * width].reshape(height, width)
        start += height * width
    return DecodedFilm(FACTS.validate_python(told["facts"]), by)


if __name__ == "__main__":
    main()
