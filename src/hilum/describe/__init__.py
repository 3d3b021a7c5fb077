"""What a cohort is made of, counted before anything is learnt from it: labels, sources, ages, devices, gaps, copies.

Most shortcuts can be seen here already: a label that only one source brings, children in one class and adults in the
other, dates that do not overlap. `describe` counts; `Description.warnings` says in words what stands out.
"""

from hilum.describe.cohort import describe, left_out_by_reason
from hilum.describe.description import ALL, NO_LABEL, NOT_STATED, Counts, DateRange, Description, LeftOut, Spread

__all__ = [
    "ALL",
    "NOT_STATED",
    "NO_LABEL",
    "Counts",
    "DateRange",
    "Description",
    "LeftOut",
    "Spread",
    "describe",
    "left_out_by_reason",
]
