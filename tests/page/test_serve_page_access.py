"""What the page looks like and who can use it: colours, keys, names, narrow screens."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import hilum.report
from hilum.serve import pages

from .browsing import OPEN, POSITIVE, Opens, pressed, reach, send

STATIC = Path(pages.__file__).parent / "page" / "static"


def tokens(css: str) -> list[dict[str, str]]:
    """The custom properties of each `:root`: light, then dark."""
    return [
        dict(re.findall(r"(--[\w-]+):\s*([^;]+);", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]


def test_colours_and_type_are_those_of_the_reports() -> None:
    house = tokens((Path(hilum.report.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8"))
    ours = tokens((STATIC / "page.css").read_text(encoding="utf-8"))
    for own, theirs in zip(ours[:2], house[:2], strict=True):
        shared = own.keys() - {"--control"}
        assert len(shared) >= 10
        assert {name: own[name] for name in shared} == {name: theirs[name] for name in shared}


def luminance(colour: str) -> float:
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: from 1 to 21."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_controls_stand_out_from_what_is_behind_them() -> None:
    light, dark = tokens((STATIC / "page.css").read_text(encoding="utf-8"))[:2]
    for theme in (light, light | dark):
        for text in ("ink", "muted", "accent", "fail"):
            for behind in ("page", "card"):
                assert contrast(theme[f"--{text}"], theme[f"--{behind}"]) >= 4.5, (text, behind)
        for text, wash in (
            ("ink", "accent"),
            ("ink", "warn"),
            ("accent", "warn"),
            ("accent", "fail"),
            ("fail", "fail"),
        ):
            assert contrast(theme[f"--{text}"], theme[f"--{wash}-wash"]) >= 4.5, (text, wash)
        assert contrast(theme["--control"], theme["--card"]) >= 3


def test_scripts_make_no_markup_of_data_and_store_nothing() -> None:
    scripts = sorted(STATIC.glob("*.js"))
    assert scripts
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|Storage|indexedDB|\.cookie|https?:"
    )
    for script in scripts:
        text = script.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(unsafe, text) == [], script.name


def test_simulated_films_are_small() -> None:
    sizes = [len(asset.content) for name, asset in pages.assets().items() if name.startswith("simulated")]
    assert len(sizes) == 3
    assert sum(sizes) < 300_000


def test_everything_can_be_done_with_keys(opens: Opens) -> None:
    page = opens()
    reach(page, "Faint opacities")
    page.keyboard.press("Enter")
    page.locator("#films .badge").wait_for()
    reach(page, "Side by side")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    assert page.locator("#plain").is_visible()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    listed = dialog.locator("kbd").all_inner_texts()
    assert {"j", "k", "i", "m", "?"} <= set(listed)
    page.keyboard.press("j")  # under a dialog no key works
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.keyboard.press("i")
    assert pressed(page, "invert") == "false"  # switched off by the Space


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (768, "light"), (1280, "dark")])
def test_nothing_is_wider_than_the_screen(opens: Opens, width: int, scheme: str) -> None:
    page = opens(width=width, color_scheme=scheme)
    sideways = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(sideways) == 0
    send(page, OPEN, POSITIVE, b"no film", names=("a-name-without-any-place-to-break-" * 4 + ".png", "b.png", "c.png"))
    page.keyboard.press("s")
    assert page.evaluate(sideways) == 0
    page.keyboard.press("?")
    assert page.evaluate(sideways) == 0


NAMED = "button, a, input, select, canvas, [role=img], [role=group], [role=radiogroup], dialog, section"
NAMELESS = """(named) => [...document.querySelectorAll(named)]
  .filter((one) => {
    const ids = (one.getAttribute("aria-labelledby") ?? "").split(" ");
    const by = ids.map((id) => document.getElementById(id)?.textContent ?? "");
    const labels = [...(one.labels ?? [])].map((label) => label.textContent);
    const own = one.matches("button, a") ? one.textContent : "";
    const hidden = one.closest("[aria-hidden=true]") || one.matches(".notes, .severity, .classifiers");
    return !hidden && ![one.getAttribute("aria-label") ?? "", ...by, ...labels, own].join("").trim();
  })
  .map((one) => one.outerHTML.slice(0, 120))"""


def test_every_control_has_a_name_and_the_page_an_outline(opens: Opens, address_of_two: str) -> None:
    page = opens(address_of_two)
    send(page, OPEN)
    assert page.evaluate(NAMELESS, NAMED) == []
    assert page.locator("img:not([alt])").count() == 0
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    levels = page.evaluate("() => [...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for name in ("main", "banner", "contentinfo"):
        assert page.get_by_role(name).count() == 1
