"""COVID-19 image data collection (Cohen, Morrison, Dao; 2020): films and CT slices from papers, web cases, hospitals.

**Who and where.** Joseph Paul Cohen and colleagues at Mila, University of Montreal, gathered figures of publications
(NEJM, Lancet, Radiology, ...), teaching cases (Radiopaedia, Eurorad, SIRM, Figure 1) and contributed films (Hannover
among them) into a public repository from January 2020 on; patients of some 30 countries, adults almost all.

**What.** metadata.csv has one row per image: patient, days since onset, sex, age, finding, survival, intensive care,
laboratory values, view, modality, date, place, source address, licence, clinical notes. **Counts**: the last edition
has 950 rows, 584 of them COVID-19, the rest SARS, MERS, influenza, varicella, bacterial, fungal and lipoid pneumonias,
tuberculosis, a few normal films and 79 still to be labelled. Findings are paths since mid-2020
("Pneumonia/Viral/COVID-19") and flat words before. **Devices** not stated.

**Licence** is per image, in the `license` column; about half leave it blank. **Beware**: figures carry arrows,
letters and burnt-in text, were windowed and compressed for print, and the view was often filled in by eye; a finding
is the patient's diagnosis, so a COVID-19 film may show nothing; several films of a patient are the rule.

References:
    Cohen, Morrison, Dao. COVID-19 Image Data Collection. arXiv:2003.11597, 2020.
    Cohen et al. COVID-19 Image Data Collection: Prospective Predictions Are the Future. MELBA 2, 2020;
    arXiv:2006.11988.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hilum.records import Modality, Radiograph, View
from hilum.sources.causes import COMPOSITE
from hilum.sources.cohen_table import read_collection
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import date_span

NAME = "covid_chestxray"

SHEET = Datasheet(
    name=NAME,
    title="COVID-19 image data collection",
    what="Chest radiographs and CT slices of COVID-19 and other pneumonias, taken from publications and web cases.",
    who="Joseph Paul Cohen, Paul Morrison, Lan Dao and contributors (Mila, University of Montreal)",
    where="publications and hospitals of some 30 countries",
    devices="not stated",
    years="2004 (SARS figures) to 2020",
    counts={"images": 950, "COVID-19": 584, "SARS": 16, "to be labelled": 79},
    views="PA, AP, AP supine, AP erect and semi-erect, lateral; axial and coronal CT slices",
    labels=COMPOSITE,
    licence="per image (column license): mostly CC BY-NC-SA, many unstated; metadata Apache-2.0 / CC BY-NC-SA 4.0",
    citation="Cohen, Morrison, Dao. arXiv:2003.11597; Cohen et al. MELBA 2, 2020, arXiv:2006.11988",
    homepages=("https://github.com/ieee8023/covid-chestxray-dataset",),
    obtain=(
        "git clone https://github.com/ieee8023/covid-chestxray-dataset",
        "move the folder to DATA/covid_chestxray (metadata.csv directly in it)",
    ),
    layout="""
covid_chestxray/
  metadata.csv
  images/*.jpg, *.jpeg, *.png
  volumes/*.nii.gz            CT volumes, optional
""",
    caveats=(
        "journal figures: arrows, letters, burnt-in text, print windowing and compression",
        "COVID-19 is the patient's diagnosis; the film may show nothing",
        "views were often judged by eye; AP labelled PA and the reverse occur between editions of the table",
        "many films per patient: split by patient, never by image",
        "dates are often a year only",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of metadata.csv with a file name, CT included."""
    return read_collection(NAME, root)


def select(
    films: Iterable[Radiograph],
    *,
    modality: Modality | None = None,
    finding: str | None = None,
    view: View | str | None = None,
    before: dt.date | None = None,
    after: dt.date | None = None,
) -> Iterator[Radiograph]:
    """Films that certainly answer the description; one whose cell is blank or too vague does not.

    Args:
        films: Records of `read`.
        modality: "XR" or "CT".
        finding: A finding as the table writes it, or one step of its path, in any case: "COVID-19" takes
            "COVID-19" and "Pneumonia/Viral/COVID-19" but not "COVID-19, ARDS"; "Viral" takes every viral path.
        view: A `View` or its value, or the table's own words ("AP Supine").
        before: Keeps films taken earlier than this day; a film dated by the year must have its whole year earlier.
        after: Keeps films taken on this day or later, read as strictly.
    """
    for film in films:
        if modality is not None and film.modality != modality:
            continue
        if finding is not None and not _has_finding(film, finding):
            continue
        if view is not None and not _has_view(film, view):
            continue
        if _within(film, before, after):
            yield film


def _has_finding(film: Radiograph, finding: str) -> bool:
    stated = (film.label_original or "").lower()
    return finding.lower() in (stated, *stated.split("/"))


def _has_view(film: Radiograph, view: View | str) -> bool:
    return film.view == view or (film.view_detail or "").lower() == str(view).lower()


def _within(film: Radiograph, before: dt.date | None, after: dt.date | None) -> bool:
    if before is None and after is None:
        return True
    span = date_span(film.attributes.get("date"))
    if span is None:
        return False
    return (before is None or span[1] < before) and (after is None or span[0] >= after)


def publisher(film: Radiograph) -> str | None:
    """The site a film was published on: radiopaedia.org, eurorad.org, a journal's; None where no address is stated.

    >>> address = {"url": "https://www.eurorad.org/case/16660"}
    >>> publisher(Radiograph(image_id="a", source=NAME, path=Path("a.png"), attributes=address))
    'eurorad.org'
    """
    address = film.attributes.get("case_url") or film.attributes.get("url") or ""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return None
    return (host or "").removeprefix("www.") or None


SOURCE = Source(sheet=SHEET, read=read, collection=publisher)
