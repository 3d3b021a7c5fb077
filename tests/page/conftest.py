"""A browser, two servers, and a page that must not fail, ask elsewhere or store anything."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving import BUNDLE

from hilum.serve.app import create_app
from hilum.serve.settings import Settings

from .browsing import OTHER, DrawnReader, Opens, listening

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with listening(create_app(DrawnReader(second=False), [BUNDLE], Settings(per_minute=10_000, most_mb=1))) as address:
        yield address


@pytest.fixture(scope="module")
def address_of_two() -> Iterator[str]:
    with listening(create_app(DrawnReader(second=True), [BUNDLE, OTHER], Settings(per_minute=10_000))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'hilum[dev]')")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs the program chromium on the PATH")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opens(browser: Any, address: str) -> Iterator[Opens]:
    """Opens the page; afterwards nothing may have failed, gone elsewhere or been stored."""
    contexts, wrong, asked = [], [], []

    def opened(at: str = address, width: int = 1280, *, errors: bool = False, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(10_000)
        contexts.append((context, at))
        page = context.new_page()
        page.on("request", lambda request: asked.append((request.url, at)))
        if not errors:
            page.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(at)
        return page

    yield opened
    for context, at in contexts:
        assert context.storage_state() == {"cookies": [], "origins": []}
        for page in context.pages:
            assert page.evaluate("localStorage.length + sessionStorage.length") == 0, at
        context.close()
    assert wrong == []
    elsewhere = [url for url, at in asked if not url.startswith((f"{at}/", "data:image/png;", f"blob:{at}/"))]
    assert elsewhere == []
