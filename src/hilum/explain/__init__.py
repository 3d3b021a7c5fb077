"""Explain: where on a film a classifier finds what raises a label, and how far to believe such a map."""

from hilum.explain.films import Explanation, How, explain_films
from hilum.explain.judging import Share
from hilum.explain.maps import METHODS, RawMap, raw_map

__all__ = ["METHODS", "Explanation", "How", "RawMap", "Share", "explain_films", "raw_map"]
