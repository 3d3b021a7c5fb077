"""The steps a recipe or the command line may name, what each takes, and the one way to write them.

A step is written `name` or `name:key=value:key=value`, as in `clahe:clip=2:tiles=8`. The same film and the same step
give the same picture, with any number of threads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hilum.enhance import blanking, borders, grey_levels, noise, phase
from hilum.enhance.film import Pixels


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number a step takes."""

    default: float
    low: float
    high: float
    says: str
    kind: type[int] | type[float] = float
    odd: bool = False
    """Whole numbers only: windows have a pixel in the middle."""


def _none() -> Mapping[str, Parameter]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One enhancement as a recipe may name it.

    Attributes:
        function: float32 `(H, W)` in [0, 1] to the same, with the parameters as keywords.
        says: what it does, in a line.
        reference: who described it, with the DOI; empty where it needs none.
        parameters: name to its default and limits, in the order they are written.
        box: where the step cuts pixels away, what it leaves of a film, with the parameters as keywords; such steps run
            on the decoded film and its masks, the others at the network's size.
    """

    function: Callable[..., Pixels]
    says: str
    reference: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=_none)
    box: Callable[..., borders.Box] | None = None


_PHASE: dict[str, Parameter] = {
    "scales": Parameter(5, 2, 8, "filters, from fine to coarse", int),
    "wavelength": Parameter(3.0, 2.0, 64.0, "of the finest filter, in pixels"),
}

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "crop-black": Step(
            function=borders.black_border_crop,
            says="cut away rows and columns at the border that hold nothing but black",
            parameters={"tolerance": Parameter(0.02, 0.0, 0.5, "grey up to which a pixel is black")},
            box=borders.black_border_box,
        ),
        "blank-border": Step(
            function=blanking.blank_border,
            says="set the outermost ring to the mean grey of what is inside it",
            parameters={"share": Parameter(0.06, 0.0, 0.45, "of each side that the ring is wide")},
        ),
        "blank-markers": Step(
            function=blanking.blank_markers,
            says="paint over small, thin, very bright things near the edges: side markers and burnt-in text",
            reference="Telea, J Graph Tools 9(1), 2004, doi:10.1080/10867651.2004.10487596",
            parameters={
                "edge": Parameter(0.12, 0.0, 0.5, "share of the shorter side from an edge that a marker lies within"),
                "contrast": Parameter(0.3, 0.05, 1.0, "grey by which it exceeds its surroundings"),
                "level": Parameter(0.75, 0.0, 1.0, "grey of its brightest pixel at least"),
                "size": Parameter(0.15, 0.0, 1.0, "share of the shorter side that it is high and wide at most"),
            },
        ),
        "min-max": Step(function=grey_levels.min_max, says="stretch the film to the full range of grey"),
        "zscore": Step(
            function=grey_levels.zscore_grey,
            says="mean to mid grey and standard deviation to 1 / (2 limit), by the film's own values",
            parameters={"limit": Parameter(4.0, 0.5, 16.0, "standard deviations from mid grey to black and to white")},
        ),
        "clahe": Step(
            function=grey_levels.clahe,
            says="equalise the histogram of each part of the film, with limited contrast",
            reference="Zuiderveld, Graphics Gems IV, 1994, doi:10.1016/B978-0-12-336156-1.50061-6",
            parameters={
                "clip": Parameter(2.0, 1.0, 256.0, "times its even share that a grey level may hold"),
                "tiles": Parameter(8, 1, 64, "parts along each side", int),
            },
        ),
        "agcwd": Step(
            function=grey_levels.agcwd,
            says="gamma correction by the weighted histogram: brightens what is dark and frequent",
            reference="Huang, Cheng, Chiu, IEEE TIP 22(3), 2013, doi:10.1109/TIP.2012.2226047",
            parameters={"alpha": Parameter(0.5, 0.0, 4.0, "exponent of the weighting")},
        ),
        "adaptive-median": Step(
            function=noise.adaptive_median,
            says="replace impulses by the median of the smallest window that knows better",
            reference="Hwang, Haddad, IEEE TIP 4(4), 1995, doi:10.1109/83.370679",
            parameters={"window": Parameter(7, 3, 15, "side of the widest window, in pixels", int, odd=True)},
        ),
        "non-local-means": Step(
            function=noise.non_local_means,
            says="average pixels whose surroundings look alike",
            reference="Buades, Coll, Morel, CVPR 2005, doi:10.1109/CVPR.2005.38",
            parameters={
                "strength": Parameter(0.03, 0.001, 0.5, "about the noise's standard deviation"),
                "patch": Parameter(5, 1, 15, "side of the surroundings compared, in pixels", int, odd=True),
                "search": Parameter(13, 3, 35, "side of the window averaged over, in pixels", int, odd=True),
            },
        ),
        "local-phase": Step(
            function=phase.local_phase_grey,
            says="local weighted mean phase angle: bright lines white, steps mid grey, dark lines black",
            reference="Kovesi, Psychol Res 64, 2000, doi:10.1007/s004260000024",
            parameters=_PHASE
            | {
                "mult": Parameter(2.1, 1.1, 4.0, "from one wavelength to the next"),
                "sigma": Parameter(0.55, 0.2, 0.9, "bandwidth of a filter"),
            },
        ),
        "phase-congruency": Step(
            function=phase.phase_congruency_grey,
            says="how well the scales agree on an edge or line, whatever its contrast",
            reference="Kovesi, Psychol Res 64, 2000, doi:10.1007/s004260000024",
            parameters=_PHASE | {"k": Parameter(2.0, 0.0, 20.0, "standard deviations of the noise that do not count")},
        ),
        "salt-and-pepper": Step(
            function=noise.seeded_salt_and_pepper,
            says="noise to try filters with: pixels turned white or black at random, the same ones on every film",
            parameters={
                "share": Parameter(0.05, 0.0, 0.5, "of the pixels turned white, and as many black"),
                "seed": Parameter(0, 0, 2**31 - 1, "of the random draws", int),
            },
        ),
    }
)
