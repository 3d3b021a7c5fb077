"""What the page says of films, and what can be taken from it."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hilum.records import DISCLAIMER
from hilum.serve.settings import Settings

from .browsing import LATERAL, NEGATIVE, OPEN, POSITIVE, Opens, canvas, differ, films, listening, said, send


def test_without_script_a_form_is_sent_and_answered(opens: Opens) -> None:
    page = opens(java_script_enabled=False)
    assert not page.locator("#workplace").is_visible()
    assert not page.locator(".samples").is_visible()
    page.set_input_files("#file", films(POSITIVE))
    page.click("form button[type=submit]")
    assert page.locator(".verdict.red").inner_text() == "POSITIVE"
    assert page.locator(".result img").is_visible()


def test_a_film_is_shown_with_what_is_said_of_it(opens: Opens) -> None:
    page = opens()
    assert page.locator("button[type=submit].unscripted").is_hidden()
    send(page, POSITIVE)
    text = said(page)
    for part in ("POSITIVE", "Bright films", "Audit of this bundle: FAIL", "AUROC 0.9", "is at or above its threshold"):
        assert part in text
    finding = page.get_by_role("img", name=re.compile(r"bright 0\.7\d \[0\.6\d, 0\.8\d\], threshold 0\.50"))
    assert finding.is_visible()
    card = page.get_by_role("link", name="Card of bright, in a new tab")
    assert card.get_attribute("href") == "/api/card?bundle=bright"
    assert "film 0.png: POSITIVE" in page.get_by_role("status").inner_text()
    zones = page.get_by_role("img", name=re.compile("Brixia zones")).get_attribute("aria-label")
    assert "right lower 2.5" in zones
    assert "left middle 3.0" in zones
    assert page.get_by_text(DISCLAIMER).filter(visible=True).count() >= 3
    assert canvas(page)[..., 3].max() == 255


def test_an_open_film_says_why(opens: Opens) -> None:
    page = opens()
    send(page, OPEN)
    assert "INCONCLUSIVE" in said(page)
    assert "neither bright nor dark" in said(page)


def test_refused_films_are_shown_where_they_can_be(opens: Opens) -> None:
    page = opens()
    send(page, b"no film", LATERAL)
    assert "REFUSED" in said(page)
    assert "Why: the film is not a PNG, JPEG or DICOM file." in said(page)
    assert canvas(page)[..., 3].max() == 0
    assert page.locator("#save-png").is_disabled()
    page.keyboard.press("j")
    assert "the film looks like a lateral film" in said(page)
    assert canvas(page)[..., 3].max() == 255
    assert page.locator("#layers input:enabled").count() == 0


def test_many_films_make_a_worklist(opens: Opens) -> None:
    page = opens()
    send(page, POSITIVE, NEGATIVE, OPEN, names=("a.png", "<img src=x onerror=stop()>.png", "c.png"))
    outcomes = page.locator("#films .badge b").all_inner_texts()
    assert outcomes == ["POSITIVE", "NEGATIVE", "INCONCLUSIVE"]
    assert page.locator("#films img").count() == 0
    for key, name in (
        ("j", "<img src=x onerror=stop()>.png"),
        ("j", "c.png"),
        ("j", "c.png"),
        ("k", "<img src=x onerror=stop()>.png"),
    ):
        page.keyboard.press(key)
        assert page.locator("#film-name").inner_text() == name
        assert page.locator("#films [aria-current=true] .name").inner_text() == name
    page.locator("#films button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#films button:focus .name").inner_text() == "c.png"
    page.click("#clear")
    assert page.locator("#workplace").is_hidden()
    send(page, NEGATIVE)
    assert "NEGATIVE" in said(page)


def test_two_classifiers_are_put_beside_each_other(opens: Opens, address_of_two: str) -> None:
    page = opens(address_of_two)
    send(page, POSITIVE)
    assert page.locator("#answer .one .badge b").all_inner_texts() == ["POSITIVE", "NEGATIVE"]
    assert page.locator("#answer .audit b").all_inner_texts() == [
        "Audit of this bundle: FAIL",
        "Audit of this bundle: PASS",
    ]
    assert page.get_by_role("link", name=re.compile("^Card of other")).get_attribute("href") == "/api/card?bundle=other"
    before = canvas(page)
    page.get_by_label("Map of").select_option("other")
    assert differ(canvas(page), before)
    assert page.locator("#map-of").input_value() == "1"


def test_films_can_be_dropped_anywhere(opens: Opens) -> None:
    page = opens()
    page.evaluate(
        """async (data) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
          transfer.items.add(new File([bytes], "dropped.png"));
          const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.querySelector("footer").dispatchEvent(new DragEvent("drop", how));
        }""",
        base64.b64encode(POSITIVE).decode(),
    )
    page.locator("#films .badge").wait_for()
    assert page.locator("#film-name").inner_text() == "dropped.png"


RECORDED = """
window.sent = [];
const real = window.fetch;
window.fetch = (address, options) => {
  for (const [field, value] of options?.body ?? []) window.sent.push(`${field}: ${value.name}`);
  return real(address, options);
};"""


def test_names_of_films_stay_in_the_browser(opens: Opens) -> None:
    page = opens()
    page.context.add_init_script(RECORDED)
    page.reload()
    send(page, POSITIVE, names=("DOE-JANE.png",))
    assert page.locator("#film-name").inner_text() == "DOE-JANE.png"
    assert page.evaluate("window.sent") == ["films: film"]


def test_the_answer_is_taken_away_as_picture_and_as_json(opens: Opens) -> None:
    page = opens()
    send(page, POSITIVE, names=("film.of.mine.png",))
    with page.expect_download() as download:
        page.click("#save-png")
    assert download.value.suggested_filename == "film.of.mine-hilum.png"
    with Image.open(download.value.path()) as picture:
        assert picture.width == 900
        assert picture.height > 900 * 120 / 96
    with page.expect_download() as download:
        page.click("#save-json")
    told = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert told["outcome"] == "POSITIVE"
    assert "pictures" not in told
    assert "picture" not in told["answers"][0]["map"]


def test_the_report_prints_on_one_page(opens: Opens, address_of_two: str) -> None:
    page = opens(address_of_two)
    send(page, POSITIVE)
    paper = page.pdf(format="A4", print_background=True)
    assert paper.count(b"/Type /Page\n") == 1
    assert canvas(page, "print-drawn").shape[1] == 1000
    assert differ(canvas(page, "print-drawn"), canvas(page, "print-plain"))


def test_a_film_that_is_too_large_can_be_tried_again(opens: Opens) -> None:
    page = opens(errors=True)
    page.set_input_files("#file", films(b"x" * 1_000_001))
    page.get_by_text("Not read: a request may have 1 MB at most").wait_for()
    assert page.locator("#films .state").inner_text() == "failed"
    page.click("text=Try again")
    page.get_by_text("Not read: a request may have 1 MB at most").wait_for()


def test_a_busy_server_is_asked_again(opens: Opens) -> None:
    page = opens(errors=True)
    busy = [{"error": {"kind": "busy", "says": "all places are taken"}}]

    def route(asked: Any) -> None:
        if busy:
            asked.fulfill(status=429, headers={"Retry-After": "1"}, json=busy.pop())
        else:
            asked.continue_()

    page.route("**/api/read*", route)
    send(page, POSITIVE)
    assert "POSITIVE" in said(page)


def test_a_server_that_is_gone_is_said_to_be(opens: Opens) -> None:
    page = opens(errors=True)
    page.route("**/api/read*", lambda asked: asked.abort())
    page.set_input_files("#file", films(POSITIVE))
    page.get_by_text("Not read: The server does not answer. Is it still running?").wait_for()


@pytest.mark.slow
def test_the_simulated_films_with_the_reader_that_is_served(opens: Opens) -> None:
    from hilum.serve.running import application

    with listening(application((), Settings(per_minute=10_000))) as address:
        page = opens(address)
        for number, name in enumerate(("Faint opacities", "Marked opacities", "Lateral: is refused")):
            page.get_by_role("button", name=name).click()
            page.locator("#films .badge").nth(number).wait_for(timeout=60_000)
        outcomes = page.locator("#films .badge b").all_inner_texts()
        assert "REFUSED" not in outcomes[:2]
        assert outcomes[2] == "REFUSED"
        assert "looks like a lateral film" in said(page)
        page.keyboard.press("k")
        assert page.locator("#layers input:enabled").count() == 5
        assert "Brixia score" in said(page)
