"""Known data sets, by name: a datasheet each, and a reader that yields their films without opening a pixel.

    >>> find_source("kermany").sheet.counts["films"]
    5856

Data sets lie in DATA/NAME, in their published layout or prepared as a pack (DATA/NAME/index.csv); local films are read
with `read_folder`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from hilum.errors import DataError, unknown_name
from hilum.records import Radiograph
from hilum.sources import (
    actualmed,
    bimcv,
    brixia,
    chexpert,
    cohen,
    covid_qu_ex,
    covid_seg,
    dicom_samples,
    figure1,
    hannover,
    kermany,
    nih,
    padchest,
    radiography_database,
    rovai,
    rsna,
    sandrofab,
    simulated,
    sirm,
)
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.folder import read_folder
from hilum.sources.pack import read_pack

__all__ = ["SOURCES", "Datasheet", "Source", "find_source", "read_folder", "read_pack", "read_source"]

SOURCES: Mapping[str, Source] = {
    "actualmed": actualmed.SOURCE,
    "bimcv_negative": bimcv.SOURCE_NEGATIVE,
    "bimcv_positive": bimcv.SOURCE_POSITIVE,
    "brixia": brixia.SOURCE,
    "chexpert": chexpert.SOURCE,
    "covid_chestxray": cohen.SOURCE,
    "covid_qu_ex": covid_qu_ex.SOURCE,
    "covid_qu_ex_sample": covid_qu_ex.SAMPLE,
    "covid_seg": covid_seg.SOURCE,
    "dicom_samples": dicom_samples.SOURCE,
    "figure1": figure1.SOURCE,
    "hannover": hannover.SOURCE,
    "kermany": kermany.SOURCE,
    "nih": nih.SOURCE,
    "nih_subset": nih.SUBSET,
    "padchest": padchest.SOURCE,
    "radiography_database": radiography_database.SOURCE,
    "rovai": rovai.SOURCE,
    "rsna": rsna.SOURCE,
    "sandrofab": sandrofab.SOURCE,
    "simulated": simulated.SOURCE,
    "sirm": sirm.SOURCE,
}


def find_source(name: str) -> Source:
    """The source of this name.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if name not in SOURCES:
        raise unknown_name("source", name, SOURCES)
    return SOURCES[name]


def read_source(name: str, root: Path) -> Iterator[Radiograph]:
    """Films of the known data set `name` in `root`/`name`: as a pack where it has an index.csv, else as published.

    Raises:
        UsageError: no data set is called so.
        DataError: the folder is missing, holds something else, or holds no film. Said before the first film.
    """
    source = find_source(name)
    folder = root / name
    if not folder.is_dir():
        raise DataError(
            f"no data set '{name}' under {root}: looked for {folder}/index.csv and the published layout in {folder}; "
            f"how to get it: hilum sources show {name}"
        )
    try:
        if (folder / "index.csv").is_file():
            films = read_pack(name, root, classes=source.sheet.labels, known_absent=source.sheet.known_absent)
        else:
            films = source.read(folder)
        first = next(films, None)
    except DataError as error:
        raise DataError(f"{error}; for the layout run: hilum sources show {name}") from error
    if first is None:
        raise DataError(f"{folder} lists no film of '{name}'; for the layout run: hilum sources show {name}")
    return (_with_collection(film, source.collection_of(film)) for film in chain([first], films))


def _with_collection(film: Radiograph, name: str | None) -> Radiograph:
    return film if name is None else replace(film, attributes={**film.attributes, "collection": name})
