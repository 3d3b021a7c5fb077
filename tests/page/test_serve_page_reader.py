"""The page with the reader that is served: every kind of film that people send, and what is no film."""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.bad_films import BAD_FILMS
from tests.pixels.conftest import DicomFiles
from tests.pixels.test_raster import png

from hilum.serve import pages
from hilum.serve.running import application
from hilum.serve.settings import Settings

from .browsing import Opens, canvas, listening, said, send


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with listening(application((), Settings(per_minute=10_000))) as address:
        yield address


def simulated(number: int) -> bytes:
    """A film that the page itself offers: 1 and 2 are frontal, 3 is a lateral."""
    return pages.assets()[f"simulated-{number}.png"].content


def grey(film: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(film)) as picture:
        return np.asarray(picture.convert("L"))


def deep(film: bytes) -> bytes:
    """The film as a PNG of 16 bits."""
    return png(grey(film).astype(np.uint16) * 257)


def as_dicom(film: bytes) -> bytes:
    stored = np.rint(grey(film) * (4095 / 255)).astype(np.uint16)
    return DicomFiles()(stored, WindowCenter=2048, WindowWidth=4096, ViewPosition="PA", PresentationLUTShape="IDENTITY")


def foot() -> bytes:
    """A long bright shape with five rays on black: no chest."""
    y, x = np.mgrid[0:480, 0:360]
    picture = np.zeros((480, 360))
    picture += 180 * np.exp(-((((x - 180) / 60) ** 2 + ((y - 360) / 110) ** 2) ** 2))
    for ray in range(5):
        centre = 90 + 45 * ray + (y - 250) * 0.02 * (2 - ray)
        picture += 150 * np.exp(-(((x - centre) / 9) ** 4)) * ((y > 50 + 12 * ray) & (y < 280))
    return png(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def corrupt() -> bytes:
    return next(bad for bad in BAD_FILMS if bad.name.startswith("1 truncated")).make(DicomFiles())


def outcomes(page: Any) -> list[str]:
    told: list[str] = page.locator("#films .badge b").all_inner_texts()
    return told


def test_each_kind_of_film_is_answered_or_refused_with_its_reason(opens: Opens, real: str) -> None:
    page = opens(real)
    film = simulated(2)
    for place, (name, sent) in enumerate((("a.png", film), ("b.dcm", as_dicom(film)), ("c.png", deep(film)))):
        send(page, sent, names=(name,))
        assert outcomes(page)[place] in ("POSITIVE", "NEGATIVE", "INCONCLUSIVE")
        told = said(page)
        for part in ("Audit of this bundle: ", "threshold", "Brixia score"):
            assert part in told, name
        assert page.locator("#layers input:enabled").count() == 5, name
        assert canvas(page)[..., 3].max() == 255
    refused = (
        ("lateral.png", simulated(3), "looks like a lateral film"),
        ("foot.png", foot(), "looks like no chest radiograph"),
        ("leg.dcm", DicomFiles()(DicomFiles.drawn(height=300, width=300), BodyPartExamined="LEG"), "by its own header"),
        ("corrupt.dcm", corrupt(), "ends before its picture does"),
        ("words.dcm", b"these are words", "is not a PNG, JPEG or DICOM file"),
    )
    for name, sent, why in refused:
        send(page, sent, names=(name,))
        assert outcomes(page)[-1] == "REFUSED", name
        assert why in said(page), name


def test_a_film_is_read_alike_as_png_as_16_bits_and_as_dicom(opens: Opens, real: str) -> None:
    page = opens(real)
    film = simulated(1)
    send(page, film, deep(film), as_dicom(film))
    summaries = []
    for button in page.locator("#films button").all():
        button.click()
        summaries.append(page.locator("#film-outcome").inner_text())
    assert summaries[0] == summaries[1]
    probabilities = [float(re.findall(r"0\.\d\d", summary)[0]) for summary in summaries]
    assert probabilities[2] == pytest.approx(probabilities[0], abs=0.05)  # DICOM: of 12 bits, rounded


def test_five_films_at_once_are_each_answered(opens: Opens, real: str) -> None:
    page = opens(real)
    names = ("1.png", "2.png", "3.png", "4.dcm", "5.dcm")
    send(page, simulated(1), simulated(2), simulated(3), corrupt(), as_dicom(simulated(1)), names=names)
    assert page.locator("#films .name").all_inner_texts() == list(names)
    told = outcomes(page)
    assert [one == "REFUSED" for one in told] == [False, False, True, True, False]
