"""Reference: what the films behind a classifier look like to it, so that one film can be held against them.

An attachment beside a bundle's manifest, made from the run: intervals for its probabilities, how far a film may lie
from those it was made with, and the hashes of those films.
"""

from hilum.reference.attached import Reference, reference_of, save_reference
from hilum.reference.distance import FilmCloud, fit_cloud
from hilum.reference.venn_abers import VennAbers

__all__ = [
    "FilmCloud",
    "Reference",
    "VennAbers",
    "fit_cloud",
    "reference_of",
    "save_reference",
]
