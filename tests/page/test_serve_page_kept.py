"""What the page shows of results the server keeps, and how they are deleted."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import BUNDLE

from hilum.serve.app import create_app
from hilum.serve.settings import Settings

from .browsing import LATERAL, NEGATIVE, POSITIVE, DrawnReader, Opens, films, listening, reach, send


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def keeping(folder: Path) -> Iterator[str]:
    with listening(create_app(DrawnReader(second=False), [BUNDLE], Settings(per_minute=10_000, keep=folder))) as told:
        yield told


def listed(page: Any) -> list[str]:
    outcomes: list[str] = page.locator("#kept-list .badge b").all_inner_texts()
    return outcomes


def wait_for(page: Any, count: int) -> None:
    """Wait until this many results are listed."""
    page.wait_for_function("(count) => document.querySelectorAll('#kept-list li').length === count", arg=count)


def kept_files(folder: Path) -> int:
    return len(list(folder.glob("*.json")))


def test_where_nothing_is_kept_the_page_says_so_and_shows_no_history(opens: Opens) -> None:
    page = opens()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    assert "Nothing is kept, here or on the server" in page.locator("footer").inner_text()
    send(page, POSITIVE)
    assert page.get_by_text("Kept results").count() == 0
    assert page.locator("#kept, #forget").count() == 0
    assert any("/api/read" in url for url in asked)
    assert not any("/api/kept" in url for url in asked)


def test_what_is_kept_is_announced_listed_and_can_be_opened(opens: Opens, keeping: str, folder: Path) -> None:
    page = opens(keeping)
    footer = page.locator("footer").inner_text()
    assert "The server keeps the result of every film you send, with a picture of it" in footer
    assert "Nothing is kept" not in footer
    page.get_by_text("None yet").wait_for()
    send(page, POSITIVE, LATERAL, names=("DOE-JANE.png", "b.png"))
    wait_for(page, 2)
    assert sorted(listed(page)) == ["POSITIVE", "REFUSED"]
    assert "DOE" not in page.locator("#kept").inner_text()
    assert "this server keeps this result until it is deleted" in page.locator("#answer").inner_text()
    rows = page.locator("#kept-list li")
    assert rows.filter(has_text="REFUSED").get_by_role("link", name="Picture").count() == 0
    positive = rows.filter(has_text="POSITIVE bright 0.7")
    with page.expect_popup() as opened:
        positive.get_by_role("link", name="Picture of POSITIVE bright").click()
    opened.value.wait_for_function("() => document.images[0]?.naturalWidth === 96")
    page.reload()
    wait_for(page, 2)
    assert kept_files(folder) == 2


def test_a_kept_result_is_deleted_after_a_question_with_keys_alone(opens: Opens, keeping: str, folder: Path) -> None:
    page = opens(keeping)
    send(page, POSITIVE, NEGATIVE)
    wait_for(page, 2)
    page.locator("#kept-title").focus()
    reach(page, "Delete")
    first = page.evaluate("() => document.activeElement.getAttribute('aria-label')").removeprefix("Delete ")
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog", name="Delete this result?")
    assert first in question.inner_text()
    assert page.evaluate("() => document.activeElement.textContent") == "Leave it"
    page.keyboard.press("Enter")
    assert question.is_hidden()
    assert page.evaluate("() => document.activeElement.textContent") == "Delete"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for(page, 1)
    assert page.locator("#kept-says").inner_text() == f"Deleted: {first}."
    assert kept_files(folder) == 1
    assert len(list(folder.iterdir())) == 2
    assert page.evaluate("() => document.activeElement.textContent") == "Delete"
    page.keyboard.press("Enter")  # the dialog must not remember that it was told to delete
    page.keyboard.press("Escape")
    assert question.is_hidden()
    page.reload()
    wait_for(page, 1)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    wait_for(page, 0)
    page.get_by_text("None yet").wait_for()
    assert page.evaluate("() => document.activeElement.id") == "kept-title"
    assert list(folder.iterdir()) == []


def test_a_result_that_cannot_be_deleted_stays_and_the_page_says_why(opens: Opens, keeping: str) -> None:
    page = opens(keeping, errors=True)
    send(page, POSITIVE)
    wait_for(page, 1)
    page.route("**/api/kept/*", lambda asked: asked.abort())
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_text("Not deleted: The server does not answer. Is it still running?").wait_for()
    wait_for(page, 1)
    page.unroute("**/api/kept/*")
    page.evaluate(
        """async () => {
          const [{ id }] = await (await fetch("/api/kept")).json();
          await fetch(`/api/kept/${id}`, { method: "DELETE" });
        }"""
    )
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_text("Not deleted: nothing of that identifier is kept").wait_for()
    wait_for(page, 0)


def test_without_script_the_page_says_where_the_kept_results_are(opens: Opens, keeping: str) -> None:
    page = opens(keeping, errors=True, java_script_enabled=False)  # beside JSON the browser asks for /favicon.ico
    assert page.locator("#kept-list").is_hidden()
    page.set_input_files("#file", films(POSITIVE))
    page.click("form button[type=submit]")
    page.get_by_role("link", name="/api/kept").click()
    assert '"outcome":"POSITIVE"' in page.locator("body").inner_text()


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_history_is_not_wider_than_the_screen_and_has_an_outline(opens: Opens, keeping: str, width: int) -> None:
    page = opens(keeping, width=width)
    send(page, POSITIVE, LATERAL)
    wait_for(page, 2)
    sideways = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(sideways) == 0
    page.get_by_role("button", name="Delete").first.click()
    assert page.evaluate(sideways) == 0
    levels = page.evaluate("() => [...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
