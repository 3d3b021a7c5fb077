"""Make the films that the recipes `view` and `projection` are trained on, and their index.

    python scripts/make_view_films.py --root DATA --out FILMS
    hilum train view --index FILMS/index.parquet --out RUN        (then RUN/bundle is src/hilum/bundles/view)
    hilum train projection --index FILMS/index.parquet --out RUN  (then RUN/bundle is src/hilum/bundles/projection)

DATA is the folder of prepared data sets. Two minutes on two cores; the same DATA gives the same films. What it makes:

* frontal and lateral films and CT slices of DATA, where they lie;
* simulated films, frontal ones and lateral ones alike, so that being simulated says nothing about the view;
* the negative of every frontal and lateral film, in its original's group;
* worn copies of a third of the real frontal films and of all real laterals, half of them negatives: coarse, cut, or in
  a black or white frame; without them softness stands for lateral, for most laterals are simulated and soft;
* pictures that are no film: noise, gradients, pages of text, charts, drawn limbs, and crops of the three photographs
  that come with scikit-learn and matplotlib.

Labels: frontal, lateral, frontal_inverted, lateral_inverted, other; PA and AP where a frontal film's own view is
stated. The one limb among the real films (dicom_samples) is left out: it is what the filter is tried on.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from hilum.console import OUT, say_left_out, watch
from hilum.index import build_index, counted
from hilum.pixels import read_film, resize
from hilum.records import Radiograph, View
from hilum.simulate.cohort import CohortSpec, simulate_cohort
from hilum.sources import read_source

Picture = NDArray[np.float64]

FRONTAL, LATERAL, OTHER = "frontal", "lateral", "other"
CLASSES = (FRONTAL, LATERAL, f"{FRONTAL}_inverted", f"{LATERAL}_inverted", OTHER)
SETS = ("covid_chestxray", "nih_subset", "sandrofab", "covid_seg", "rovai", "covid_qu_ex_sample", "simulated")
FRONTAL_VIEWS = (View.PA, View.AP, View.FRONTAL)
SET_LEVEL = "view is stated for the whole set only"
NEGATIVE_PX = 448
"""Longest side of the negatives; the filter sees less."""
DRAWN_PX = 256
THIRD = 3
EACH = 40
"""Pictures of each drawn kind."""
CROPS = 20
"""Crops of each photograph."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the prepared data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write films and index.parquet to")
    told = parser.parse_args()
    records = list(every_film(told.root, told.out))
    with watch("check films") as progress:
        index = build_index(records, told.out, progress=progress)
    index.save(told.out / "index.parquet")
    say_left_out(counted(index.left_out["left_out"]))
    OUT.print({name: int(index.films[f"label.{name}"].sum()) for name in (*CLASSES, "PA", "AP")}, soft_wrap=True)


def every_film(root: Path, out: Path) -> Iterator[Radiograph]:
    """Real and simulated films with their negatives, then the pictures that are no film."""
    spec = CohortSpec(films=240, seed=23, views=(View.PA, View.AP, View.LATERAL))
    with watch("simulate films") as progress:
        simulate_cohort(spec, out, progress=progress)
    films = [film for name in SETS for film in labelled(name, out if name == "simulated" else root)]
    yield from films
    with watch("negatives") as progress:
        for done, film in enumerate(films, 1):
            if not film.labels[OTHER]:
                yield negative(film, out)
            progress(done, len(films))
    yield from worn_films(films, out)
    yield from drawn(out)
    yield from photographs(out)


def labelled(name: str, root: Path) -> Iterator[Radiograph]:
    """A source's films that are frontal, lateral or a CT slice, labelled so."""
    for film in read_source(name, root):
        frontal, slice_ = film.view in FRONTAL_VIEWS or film.view is None, film.modality == "CT"
        kind = OTHER if slice_ else FRONTAL if frontal else LATERAL if film.view is View.LATERAL else None
        if kind is None:
            continue
        said = film.view in (View.PA, View.AP) and SET_LEVEL not in film.notes and name != "simulated"
        projection = {view.value: film.view is view for view in (View.PA, View.AP)} if said else {}
        labels = labels_of(kind) | projection
        # A recipe takes radiographs or CT slices, and here a slice is what a film is told from. The stated view is the
        # answer itself, which no floor may read.
        yield replace(film, modality="XR", labels=labels, view=None, view_detail=None, lung_mask=None, attributes={})


def labels_of(kind: str) -> dict[str, bool]:
    return {name: name == kind for name in CLASSES}


def negative(film: Radiograph, out: Path) -> Radiograph:
    """The film with bone dark."""
    kind = FRONTAL if film.labels[FRONTAL] else LATERAL
    place = out / "negatives" / f"{film.image_id.replace('/', '__')}.png"
    pixels = read_film(film.path, at_least_px=NEGATIVE_PX).pixels
    write(place, 1.0 - resize(pixels, min(NEGATIVE_PX, max(pixels.shape)), aspect="pad"))
    return replace(
        film,
        image_id=f"{film.image_id}-negative",
        path=place,
        labels=labels_of(f"{kind}_inverted"),
        group_id=film.group_id,
    )


def worn_films(films: Sequence[Radiograph], out: Path) -> Iterator[Radiograph]:
    """Copies as screens, slides and old exports leave them."""
    real = [film for film in films if film.source != "simulated"]
    chosen = [film for film in real if film.labels[LATERAL]]
    chosen += [film for film in real if film.labels[FRONTAL]][::THIRD]
    for number, film in enumerate(chosen):
        kind = FRONTAL if film.labels[FRONTAL] else LATERAL
        rng = np.random.default_rng([200, number])
        picture = worn(read_film(film.path, at_least_px=NEGATIVE_PX).pixels.astype(np.float64), rng)
        place = out / "worn" / f"{film.image_id.replace('/', '__')}.png"
        write(place, 1 - picture if number % 2 else picture)
        labels = labels_of(f"{kind}_inverted" if number % 2 else kind)
        yield replace(film, image_id=f"{film.image_id}-worn", path=place, labels=labels)


def worn(film: Picture, rng: np.random.Generator) -> Picture:
    """A film coarse, cut or framed, or several of these."""
    if rng.random() < 0.5:
        (top, low, left, right) = (rng.uniform(0, 0.2, 4) * np.repeat(film.shape, 2)).astype(int)
        film = film[top : film.shape[0] - low, left : film.shape[1] - right]
    if rng.random() < 0.5:
        side = int(rng.uniform(56, 160))
        film = resize(film.astype(np.float32), side, aspect="pad").astype(np.float64)
    if rng.random() < 0.5:
        widths = (rng.uniform(0, 0.3, 4) * np.repeat(film.shape, 2)).astype(int).reshape(2, 2)
        film = np.pad(film, widths.tolist(), constant_values=float(rng.integers(0, 2)))
    return film


def write(place: Path, picture: NDArray[np.floating]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(place), np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def drawn(out: Path) -> Iterator[Radiograph]:
    """`EACH` pictures of every kind, half of them with black and white exchanged."""
    for place, (kind, draw) in enumerate(KINDS.items()):
        for number in range(EACH):
            picture = draw(np.random.default_rng([place, number]))
            yield no_film(out, kind, f"{kind}-{number:02d}", picture if number % 2 else 1 - picture, group=None)


def photographs(out: Path) -> Iterator[Radiograph]:
    """Grey crops of three photographs; all crops of one are one group."""
    hopper = np.asarray(Image.open(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    for place, colour in enumerate([*load_sample_images().images, hopper]):
        grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) / 255.0
        for number in range(CROPS):
            rng = np.random.default_rng([100 + place, number])
            height, width = (int(side * rng.uniform(0.4, 1)) for side in grey.shape)
            top, left = rng.integers(0, grey.shape[0] - height + 1), rng.integers(0, grey.shape[1] - width + 1)
            picture = grey[top : top + height, left : left + width][:, :: rng.choice([-1, 1])]
            yield no_film(out, "photograph", f"photograph-{place}-{number:02d}", picture, group=f"photograph-{place}")


def no_film(out: Path, kind: str, name: str, picture: Picture, *, group: str | None) -> Radiograph:
    place = out / "no_film" / f"{name}.png"
    write(place, picture)
    return Radiograph(
        image_id=f"no_film/{name}",
        source=kind,
        path=place,
        labels=labels_of(OTHER),
        label_original=kind,
        group_id=group,
    )


def noise(rng: np.random.Generator) -> Picture:
    """Grey noise, from single pixels to soft clouds."""
    side = int(DRAWN_PX / 2 ** rng.uniform(0, 6))
    coarse = rng.normal(0.5, rng.uniform(0.05, 0.3), (side, side))
    return cv2.resize(coarse, (DRAWN_PX, DRAWN_PX), interpolation=cv2.INTER_CUBIC)


def gradient(rng: np.random.Generator) -> Picture:
    """A ramp, or rings, with a little noise."""
    across, down = np.meshgrid(np.linspace(-1, 1, DRAWN_PX), np.linspace(-1, 1, DRAWN_PX))
    angle, x, y = rng.uniform(0, np.pi), *rng.uniform(-1, 1, 2)
    ramp = across * np.cos(angle) + down * np.sin(angle) if rng.random() < 0.5 else np.hypot(across - x, down - y)
    ramp = np.sin(ramp * rng.uniform(1, 12)) if rng.random() < 0.5 else ramp
    grey: Picture = 0.5 + 0.4 * ramp + rng.normal(0, rng.uniform(0.002, 0.05), ramp.shape)
    return grey


def text(rng: np.random.Generator) -> Picture:
    """A page of lines of random letters."""
    page = np.full((DRAWN_PX, DRAWN_PX), 255, np.uint8)
    scale = rng.uniform(0.25, 1.2)
    for line in range(int(30 * scale), DRAWN_PX, int(32 * scale) + 2):
        words = "".join(rng.choice(list("abcdefghij klmnop qrstuvwxyz 0123456789."), int(rng.integers(4, 60))))
        cv2.putText(page, words, (8, line), cv2.FONT_HERSHEY_SIMPLEX, scale, 0, 1, cv2.LINE_AA)
    return page / 255.0


def chart(rng: np.random.Generator) -> Picture:
    """Bars or curves between axes."""
    page = np.full((DRAWN_PX, DRAWN_PX), rng.uniform(0.9, 1))
    base, count = DRAWN_PX - 24, int(rng.integers(3, 14))
    cv2.line(page, (24, 8), (24, base), 0.0, 2)
    cv2.line(page, (24, base), (DRAWN_PX - 8, base), 0.0, 2)
    places = np.linspace(40, DRAWN_PX - 20, count).astype(int).tolist()
    tops = rng.integers(16, base, count).tolist()
    for start, (left, top) in enumerate(zip(places, tops, strict=True)):
        if count % 2:
            cv2.rectangle(page, (left - 6, top), (left + 6, base), float(rng.uniform(0.1, 0.7)), -1)
        elif start:
            cv2.line(page, (places[start - 1], tops[start - 1]), (left, top), 0.2, 2, cv2.LINE_AA)
    return page


def limb(rng: np.random.Generator) -> Picture:
    """One to five tubes of soft tissue, each around one or two bones with bright rims: a finger, a leg, a hand."""
    film = np.zeros((DRAWN_PX, DRAWN_PX))
    count = int(rng.choice([1, 1, 1, 2, 5]))
    for middle in np.linspace(-1, 1, count + 2)[1:-1]:
        thickness = np.zeros_like(film)
        width = rng.uniform(0.5, 0.8) / count
        bend = rng.uniform(-0.3, 0.3)
        thickness += tube(middle, width, bend) * rng.uniform(0.3, 0.5)
        for side in (-0.3, 0.35) if count == 1 and rng.random() < 0.6 else (0.0,):
            bone = width * rng.uniform(0.22, 0.4)
            thickness += 0.6 * tube(middle + side * width, bone, bend) - 0.4 * tube(
                middle + side * width, bone / 2, bend
            )
        film += thickness
    turned = cv2.warpAffine(
        film,
        cv2.getRotationMatrix2D((DRAWN_PX / 2, DRAWN_PX / 2), rng.uniform(-90, 90), rng.uniform(0.9, 1.3)),
        film.shape,
    )
    return turned + rng.normal(0.05, 0.02, film.shape)


def tube(middle: float, width: float, bend: float) -> Picture:
    """Path length of a ray through an upright tube, 1 at its axis; places and widths in half sides of the film."""
    across, down = np.meshgrid(np.linspace(-1, 1, DRAWN_PX), np.linspace(-1, 1, DRAWN_PX))
    length: Picture = np.sqrt(np.clip(1 - ((across - middle - bend * down**2) / width) ** 2, 0, 1))
    return length


def plates(rng: np.random.Generator) -> Picture:
    """What a detector shows without a patient: a collimated field, a step wedge, discs."""
    film = np.full((DRAWN_PX, DRAWN_PX), rng.uniform(0, 0.2))
    for _ in range(int(rng.integers(1, 7))):
        (left, right), (top, low) = (np.sort(rng.integers(0, DRAWN_PX, 2)).tolist() for _ in range(2))
        grey = float(rng.uniform(0.2, 1))
        if rng.random() < 0.5:
            cv2.rectangle(film, (left, top), (right, low), grey, -1)
        else:
            cv2.circle(film, (left, top), max(4, right - left) // 3, grey, -1)
    return cv2.GaussianBlur(film, (0, 0), rng.uniform(0.5, 3)) + rng.normal(0, 0.01, film.shape)


KINDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "noise": noise,
    "gradient": gradient,
    "text": text,
    "chart": chart,
    "limb": limb,
    "plates": plates,
}

if __name__ == "__main__":
    main()
