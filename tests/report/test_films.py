"""Films inside a page."""

import base64
import io

import numpy as np
from PIL import Image

from hilum.report.films import ExampleFilm, choose_examples, contact_sheet, jpeg_uri


def test_jpeg_uri_is_small_and_shows_the_film() -> None:
    pixels = np.zeros((500, 1000), np.uint8)
    pixels[:, 500:] = 200
    uri, width, height = jpeg_uri(pixels)
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    assert (width, height) == (320, 160)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == (160, 320)
    assert abs(int(picture[80, 40]) - 0) < 5
    assert abs(int(picture[80, 280]) - 200) < 5


def test_a_small_film_is_not_enlarged() -> None:
    assert jpeg_uri(np.zeros((30, 20), np.uint8))[1:] == (20, 30)


def test_contact_sheet_groups_by_kind() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    films = [
        ExampleFilm(str(i), pixels, "a", "b", 0.9, kind) for i, kind in enumerate(["borderline", "confident wrong"])
    ]
    assert [(kind, [tile.film.image_id for tile in tiles]) for kind, tiles in contact_sheet(films)] == [
        ("confident wrong", ["1"]),
        ("borderline", ["0"]),
    ]


def test_examples_are_the_surest_right_the_surest_wrong_and_the_undecided() -> None:
    p = np.array([[0.9, 0.1], [0.99, 0.01], [0.02, 0.98], [0.2, 0.8], [0.51, 0.49], [0.7, 0.3]])
    chosen = choose_examples(["a", "a", "a", "a", "a", "b"], p, ("a", "b"), each=1)
    assert dict(chosen) == {2: "confident wrong", 1: "confident right", 4: "borderline"}


def test_no_film_is_chosen_twice() -> None:
    rows = [row for row, _ in choose_examples(["a", "b"], np.array([[0.6, 0.4], [0.6, 0.4]]), ("a", "b"))]
    assert sorted(rows) == [0, 1]
