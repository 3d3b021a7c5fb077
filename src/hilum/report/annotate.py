"""A film with its result drawn on it, as a PNG whose name carries label and probability."""

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hilum.files import written_aside
from hilum.pixels import read_film
from hilum.records import DISCLAIMER, Prediction

WIDTH_PX = 640
LINE_PX = 24
MARGIN_PX = 10


def write_annotated(prediction: Prediction, folder: Path, name: str | None = None) -> Path:
    """Draw a prediction with findings under its film and write `LABEL_PERCENT_NAME.png`.

    Args:
        prediction: of the film.
        folder: to write to.
        name: that no other film has, under which a picture is written over what is there; default the film's stem,
            with a number where there is a picture of that name.
    """
    film = read_film(Path(prediction.film), at_least_px=WIDTH_PX)
    picture = Image.fromarray(np.rint(film.pixels * 255).astype(np.uint8)).convert("RGB")
    picture = picture.resize((WIDTH_PX, max(1, round(picture.height * WIDTH_PX / picture.width))))
    lines = [_line(finding.label, finding.probability, finding.threshold) for finding in prediction.findings]
    sheet = Image.new("RGB", (WIDTH_PX, picture.height + 2 * MARGIN_PX + LINE_PX * (len(lines) + 2)), "black")
    sheet.paste(picture, (0, 0))
    pen, top = ImageDraw.Draw(sheet), picture.height + MARGIN_PX
    pen.text((MARGIN_PX, top), f"{_words(prediction.decided or '')}", fill="white", font=ImageFont.load_default(20))
    for number, line in enumerate(lines, 1):
        pen.text((MARGIN_PX, top + number * LINE_PX), line, fill="#c8d4d4", font=ImageFont.load_default(16))
    place = (MARGIN_PX, top + (len(lines) + 1) * LINE_PX)
    pen.text(place, DISCLAIMER, fill="#e0b050", font=ImageFont.load_default(14))
    path = folder / f"{_named(prediction, name)}.png" if name else _free(folder, _named(prediction))
    with written_aside(path) as aside:
        sheet.save(aside)
    return path


def _line(label: str, probability: float, threshold: float | None) -> str:
    held = f"   (threshold {threshold:.2f})" if threshold is not None else ""
    return f"{_words(label)}: {probability:.2f}{held}"


def _words(label: str) -> str:
    return label.replace("_", " ")


def _named(prediction: Prediction, name: str | None = None) -> str:
    decided = next(finding for finding in prediction.findings if finding.label == prediction.decided)
    label = re.sub(r"[^\w.-]+", "-", decided.label)
    return f"{label}_{round(100 * decided.probability):02d}_{name or Path(prediction.film).stem}"


def _free(folder: Path, name: str) -> Path:
    path, number = folder / f"{name}.png", 2
    while path.exists():
        path, number = folder / f"{name}-{number}.png", number + 1
    return path
