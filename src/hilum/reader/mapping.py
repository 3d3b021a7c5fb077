"""Where on a film a classifier finds what raises the label it decides on; made of its maps, without torch."""

from hilum.engine import FilmAnswers
from hilum.errors import UsageError
from hilum.explain.frames import on_film
from hilum.explain.judging import IN_PADDING, share_inside, shown_map
from hilum.predict import Framed
from hilum.preprocess import Mask
from hilum.reader.loading import Loaded
from hilum.reader.reading import Map


def map_of(one: Loaded, told: FilmAnswers, framed: Framed, label: str, lungs: Mask | None) -> Map:
    """The map of a label at the film's size, or why there is none.

    Args:
        one: the classifier.
        told: by its network.
        framed: what that was shown.
        label: to explain.
        lungs: (H, W) at the film's size, to hold the map against.
    """
    bundle = one.bundle
    try:
        raw = bundle.evidence_of(told, bundle.classes.index(label))
    except UsageError as error:
        return Map(no_map=str(error))
    shown, why = shown_map(raw.signed)
    if shown is None:
        return Map(no_map=why)
    of_film, _ = on_film(bundle.preprocess, shown, framed.size, framed.seen)
    if not of_film.any():
        return Map(no_map=IN_PADDING)
    return Map(shown=of_film, lungs=None if lungs is None else share_inside(of_film, lungs, framed.seen))
