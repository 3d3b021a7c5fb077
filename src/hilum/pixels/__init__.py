"""Films in: PNG, JPEG and DICOM become float32 `(H, W)` in [0, 1], bone bright, or are refused with one sentence.

`read_film` decodes, `read_facts` says what a file is without decoding it, `fit` is the one way films are resampled.
What a file is, is judged by its content, never by its name. Every step below bounds what a hostile file may cost:
sizes are read from headers before anything is decoded, and nothing of a file but its picture and a short list of DICOM
attributes is ever looked at.
"""

from hilum.pixels.film import LEAST_SIDE_PX, MOST_PIXELS, Film, FilmFacts
from hilum.pixels.reading import read_facts, read_film
from hilum.pixels.resample import RESAMPLING_CONTRACT, fit, pad, resize

__all__ = [
    "LEAST_SIDE_PX",
    "MOST_PIXELS",
    "RESAMPLING_CONTRACT",
    "Film",
    "FilmFacts",
    "fit",
    "pad",
    "read_facts",
    "read_film",
    "resize",
]
