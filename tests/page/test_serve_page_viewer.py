"""The film on the page: window, level, zoom, overlays; told by what the canvas shows."""

import io
import re

import numpy as np
from PIL import Image

from .browsing import OPEN, Opens, canvas, differ, pressed, seen, send, settle


def test_each_overlay_can_be_hidden_and_faded(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    page.get_by_label("Boxes around lesions").check()
    before = canvas(page)
    for key, name in (
        ("m", "Saliency map"),
        ("l", "Lungs"),
        ("g", "Ground glass"),
        ("c", "Consolidation"),
        ("b", "Boxes"),
    ):
        page.get_by_label(re.compile(f"^{name}")).click()
        assert differ(canvas(page), before), name
        page.keyboard.press(key)
        assert not differ(canvas(page), before), name
    page.locator("#opacity").fill("20")
    faded = canvas(page)
    assert differ(faded, before)
    page.keyboard.press("o")
    bare = canvas(page)
    assert np.abs(bare - faded).mean() < np.abs(bare - before).mean()
    assert (bare[..., 0] == bare[..., 1]).all()


def test_overlays_lie_where_the_film_is(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    page.keyboard.press("o")
    bare = canvas(page)
    page.get_by_label(re.compile("^Ground glass")).check()
    rows, columns = np.nonzero((canvas(page) != bare).any(-1))
    film = np.nonzero(bare[..., 3])
    (top, bottom), (left, right) = [(edge.min(), edge.max() + 1) for edge in film]
    shares = [(rows.min() - top) / (bottom - top), (rows.max() - top) / (bottom - top)]
    shares += [(columns.min() - left) / (right - left), (columns.max() - left) / (right - left)]
    assert np.allclose(shares, [0.3, 0.6, 0.2, 0.4], atol=0.01)
    middle = round(top + 0.45 * (bottom - top)), round(left + 0.3 * (right - left))
    assert not (canvas(page)[middle] != bare[middle]).any()  # a hole in the lesion


def test_window_level_and_inversion_change_the_film_and_reset_brings_it_back(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    page.keyboard.press("o")
    before = canvas(page)
    box = page.locator("#drawn").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 160, steps=4)
    page.mouse.up()
    assert seen(page) == "Level 168, window 136, zoom 1.0"
    assert (page.locator("#level").input_value(), page.locator("#window").input_value()) == ("168", "136")
    dragged = canvas(page)
    assert dragged[..., 0].sum() < before[..., 0].sum()
    page.keyboard.press("i")
    assert pressed(page, "invert") == "true"
    solid = before[..., 3] == 255
    assert (canvas(page)[solid][:, 0] + dragged[solid][:, 0] == 255).mean() > 0.95
    page.keyboard.press("r")
    assert not differ(canvas(page), before)
    page.locator("#stage").focus()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowRight")
    assert seen(page) == "Level 136, window 264, zoom 1.0"


def test_at_first_a_film_is_shown_as_it_is(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    page.keyboard.press("o")
    shown = canvas(page)
    film = shown[shown[..., 3] == 255]
    given = np.asarray(Image.open(io.BytesIO(OPEN)))
    assert abs(int(film[:, 0].min()) - int(given.min())) <= 1
    assert abs(int(film[:, 0].max()) - int(given.max())) <= 1


def test_a_film_is_zoomed_moved_and_fitted(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    before = canvas(page)
    page.keyboard.press("+")
    zoomed = canvas(page)
    assert "zoom 1.3" in seen(page)
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    assert differ(canvas(page), zoomed)
    page.get_by_label("Move", exact=True).check()
    box = page.locator("#drawn").bounding_box()
    moved = canvas(page)
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 230, box["y"] + 240)
    page.mouse.up()
    assert differ(canvas(page), moved)
    assert "Level 128, window 256" in seen(page)
    page.mouse.wheel(0, -200)
    assert differ(canvas(page), moved)
    page.keyboard.press("f")
    assert not differ(canvas(page), before)


def test_the_wheel_scrolls_the_page_until_the_film_is_used(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    box = page.locator("#drawn").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, 100)
    settle(page)
    assert "zoom 1.0" in seen(page)


def test_original_and_overlays_stand_side_by_side(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    page.keyboard.press("s")
    settle(page)
    plain, drawn = canvas(page, "plain"), canvas(page)
    assert plain.shape == drawn.shape
    assert differ(plain, drawn)
    page.keyboard.press("o")
    page.keyboard.press("+")
    assert differ(canvas(page, "plain"), plain)
    assert not differ(canvas(page, "plain"), canvas(page))
