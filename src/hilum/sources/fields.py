"""One cell of a published table -> a value, or None and a note that says why there is none.

Every function takes the list of notes it may add to. A note never repeats the cell: the raw text stays in the
record's `attributes`.
"""

import datetime as dt
import re
from collections.abc import Collection, Mapping

from hilum.records import Modality, Sex, View

_UNSTATED = frozenset({"", "nan", "na", "n/a", "none", "null", "unknown", "unk", "?", "todo", "not stated"})
_MAX_AGE_YEARS = 120
_AGE = re.compile(r"0*(\d+(?:\.\d+)?)\s*([ymwd]?)", re.IGNORECASE)
_YEARS_PER = {"": 1.0, "y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_VIEWS = {
    "pa": View.PA,
    "ap": View.AP,
    "aps": View.AP,
    "frontal": View.FRONTAL,
    "l": View.LATERAL,
    "ll": View.LATERAL,
    "rl": View.LATERAL,
    "lat": View.LATERAL,
    "lateral": View.LATERAL,
    "axial": View.OTHER,
    "coronal": View.OTHER,
    "sagittal": View.OTHER,
    "ct": View.OTHER,
    "ct slice": View.OTHER,
    "costal": View.OTHER,
    "oblique": View.OTHER,
}
_DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y%m%d",
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
)
_MONTH_FORMATS = ("%B %Y", "%b %Y", "%Y-%m", "%B, %Y")


def stated(text: str | None) -> str:
    """The text of a cell, or "" where the cell only says that nothing is known.

    >>> stated(" NaN "), stated("Milan")
    ('', 'Milan')
    """
    value = (text or "").strip()
    return "" if value.lower() in _UNSTATED else value


def snake(text: str) -> str:
    """A label or column name in snake case.

    >>> snake("Pleural Effusion"), snake("Viral Pneumonia"), snake("pO2 saturation")
    ('pleural_effusion', 'viral_pneumonia', 'po2_saturation')
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def sex_of(text: str | None, notes: list[str]) -> Sex | None:
    """F or M; anything else, such as DICOM's O and U, is not stated."""
    value = stated(text).lower()
    if value in ("f", "female", "w", "woman"):
        return "F"
    if value in ("m", "male", "man"):
        return "M"
    if value:
        notes.append("sex is neither F nor M")
    return None


def age_of(text: str | None, notes: list[str]) -> float | None:
    """Age in years from "65", "65.0" or DICOM's "065Y", "010M"; ranges, and ages nobody reaches, are no number.

    >>> notes = []
    >>> age_of("018M", notes), age_of("50+", notes), age_of("414", notes)
    (1.5, None, None)
    >>> notes
    ['age is stated but not as a number', 'age is beyond a human lifetime']
    """
    value = stated(text)
    if not value:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        notes.append("age is stated but not as a number")
        return None
    years = float(match[1]) * _YEARS_PER[match[2].lower()]
    if years > _MAX_AGE_YEARS:
        notes.append("age is beyond a human lifetime")
        return None
    return years


def view_of(text: str | None, notes: list[str]) -> View | None:
    """The view a cell states, its posture and other detail aside ("AP Supine" is AP).

    >>> view_of("AP semi erect", []), view_of("AP_horizontal", []), view_of("Lateral", [])
    (<View.AP: 'AP'>, <View.AP: 'AP'>, <View.LATERAL: 'L'>)
    """
    words = snake(stated(text)).replace("_", " ")
    if not words:
        notes.append("view is not stated")
        return None
    view = _VIEWS.get(words) or _VIEWS.get(words.split()[0])
    if view is None:
        notes.append("view is stated in unknown words")
    return view


def modality_of(text: str | None) -> Modality:
    """CT where the cell says so; every other stated modality of these sets is a radiograph (X-ray, CR, DX, DR)."""
    return "CT" if stated(text).upper().startswith("CT") else "XR"


def date_span(text: str | None) -> tuple[dt.date, dt.date] | None:
    """First and last day a date can mean: one day, a month ("March 2020") or a year ("2020"); None if unreadable.

    >>> date_span("January 22, 2020")[0] == date_span("2020-01-22")[1]
    True
    >>> [day.isoformat() for day in date_span("Feb 2020")]
    ['2020-02-01', '2020-02-29']
    """
    value = re.sub(r"\s+", " ", stated(text)).removesuffix(".0")
    if re.fullmatch(r"(19|20)\d\d", value):
        return dt.date(int(value), 1, 1), dt.date(int(value), 12, 31)
    for form in _DATE_FORMATS:
        day = _parsed(value, form)
        if day is not None:
            return day, day
    for form in _MONTH_FORMATS:
        first = _parsed(value, form)
        if first is not None:
            following = (first.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
            return first, following - dt.timedelta(days=1)
    return None


def _parsed(value: str, form: str) -> dt.date | None:
    try:
        return dt.datetime.strptime(value, form).replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None


def date_of(text: str | None, notes: list[str]) -> dt.date | None:
    """The day a cell states; a month or a year alone is not a day."""
    span = date_span(text)
    if span is None:
        if stated(text):
            notes.append("date is stated but unreadable")
        return None
    if span[0] != span[1]:
        notes.append("date is stated to the month or year only")
        return None
    return span[0]


def rest_of(row: Mapping[str, str], used: Collection[str]) -> dict[str, str]:
    """The cells no field of the record took, for its `attributes`; empty cells say nothing and are left out."""
    return {name: cell for name, cell in row.items() if name not in used and cell}
