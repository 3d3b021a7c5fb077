"""A server that asks for a token, used with a browser."""

from collections.abc import Iterator

import pytest
from tests.serving import BUNDLE

from hilum.serve.app import create_app
from hilum.serve.settings import Settings

from .browsing import POSITIVE, DrawnReader, Opens, films, listening, said, send

TOKEN = "a long random token: with a colon"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(per_minute=10_000, token=TOKEN, keep=tmp_path_factory.mktemp("kept"))
    with listening(create_app(DrawnReader(second=False), [BUNDLE], settings)) as address:
        yield address


@pytest.mark.parametrize("name", ["", "anybody"])
def test_a_browser_that_is_told_the_token_can_do_everything(opens: Opens, guarded: str, name: str) -> None:
    page = opens(guarded, errors=True, http_credentials={"username": name, "password": TOKEN})
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.reload()
    send(page, POSITIVE)
    assert "POSITIVE" in said(page)
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_text("Deleted: POSITIVE").wait_for()
    assert failed == []


def test_a_browser_without_scripts_can_too(opens: Opens, guarded: str) -> None:
    page = opens(guarded, errors=True, java_script_enabled=False, http_credentials={"username": "", "password": TOKEN})
    page.set_input_files("#file", films(POSITIVE))
    page.click("form button[type=submit]")
    assert page.locator(".verdict.red").inner_text() == "POSITIVE"


def test_a_wrong_token_gets_no_page(opens: Opens, guarded: str) -> None:
    page = opens(guarded, errors=True, http_credentials={"username": "", "password": "a long random guess"})
    assert "this server wants its token" in page.locator("body").inner_text()
    assert page.locator("form").count() == 0


def test_another_sites_page_cannot_use_the_token_a_browser_remembers(opens: Opens, guarded: str, address: str) -> None:
    page = opens(guarded, errors=True, http_credentials={"username": "", "password": TOKEN})
    send(page, POSITIVE)
    # `address` is another origin; its own page's policy would not send such a form, so this one takes its place.
    form = f'<!DOCTYPE html><form action="{guarded}/api/read" method="post" enctype="multipart/form-data"><button>'
    other = page.context.new_page()
    other.route(f"{address}/", lambda asked: asked.fulfill(body=form, content_type="text/html"))
    other.goto(address)
    read = "(at) => fetch(`${at}/api/kept`, { credentials: 'include' }).then((one) => one.text(), () => 'unreadable')"
    assert other.evaluate(read, guarded) == "unreadable"
    other.get_by_role("button").click()
    other.get_by_text("forms of other sites are not accepted").wait_for()
