"""Reproduce: the reference systems' published figures, each beside the figure of a run that was really made.

`published.toml` lists the figures; a run follows the reference where its weights and films are at hand, and is the
named stand-in where not. What was not run is listed with its reason: no figure is carried over from anywhere.
"""

from hilum.reproduce.page import reproduction_page, reproduction_table
from hilum.reproduce.published import Plan, Published, load_published
from hilum.reproduce.running import Outcome, reproduce

__all__ = [
    "Outcome",
    "Plan",
    "Published",
    "load_published",
    "reproduce",
    "reproduction_page",
    "reproduction_table",
]
