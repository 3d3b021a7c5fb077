"""What the file names of the Guangzhou children's films say, wherever those films were re-used.

`person1000_bacteria_2931.jpeg`: a person's number and the cause; `IM-0119-0001.jpeg`, `NORMAL2-IM-0555-0001.jpeg`:
an examination of a child without pneumonia, the same number for films of one examination. Nobody has published
whether a number means the same child in the training and in the test folder; taking it for one is the safe side.
"""

import re

from hilum.records import BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA

VIEW_DETAIL = "AP (stated for the whole set)"
AGE_NOTE = "age is stated for the whole set only: 1 to 5 years"

_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+", re.IGNORECASE)
_CAUSES = {"bacteria": BACTERIAL_PNEUMONIA, "virus": VIRAL_PNEUMONIA}


def patient_in(stem: str) -> str | None:
    """The patient a file name tells, or None.

    >>> patient_in("person1000_bacteria_2931"), patient_in("NORMAL2-IM-0555-0001-0002"), patient_in("x")
    ('person1000', 'NORMAL2-IM-0555', None)
    """
    match = _PERSON.match(stem) or _NORMAL.match(stem)
    return match[1] if match else None


def cause_in(stem: str) -> str | None:
    """`bacterial_pneumonia` or `viral_pneumonia` where the file name says it."""
    match = _PERSON.match(stem)
    return _CAUSES[match[2].lower()] if match else None


def is_theirs(stem: str) -> bool:
    """Whether the name is one of this set's."""
    return patient_in(stem) is not None
