"""Explain: where on a film a classifier finds what raises a label, and how far to believe such a map.

films       films in, explanations out
maps        six methods that make maps, with torch
evidence    a network whose maps can be looked into
redrawing   networks with weights drawn again
frames      what a network is shown of a film, and the way back to the film
judging     what a map can be trusted for
pictures    a map on its film
writing     explanations on disk

Importing this package, `frames` or `judging` imports no torch.
"""

from hilum.explain.films import Explanation, How, explain_films
from hilum.explain.judging import Share

__all__ = ["Explanation", "How", "Share", "explain_films"]
