"""A server to look at in a browser: drawn films, canned pictures, what a canvas shows."""

import base64
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from tests.pixels.test_raster import png
from tests.serving import BUNDLE, told

from hilum.serve.decoder import DecodedFilm
from hilum.serve.reading import Told, refused

Opens = Callable[..., Any]
Pixels = NDArray[np.int64]

OTHER = BUNDLE.model_copy(update={"name": "other", "title": "Other films", "verdict": "PASS"})
LUNGS = {
    "right": [[[0.15, 0.2], [0.45, 0.2], [0.45, 0.7], [0.15, 0.7]]],
    "left": [[[0.55, 0.2], [0.85, 0.2], [0.85, 0.7], [0.55, 0.7]]],
}
HOLED = [[[0.2, 0.3], [0.4, 0.3], [0.4, 0.6], [0.2, 0.6]], [[0.27, 0.4], [0.33, 0.4], [0.33, 0.5], [0.27, 0.5]]]
SMALL = [[[0.6, 0.5], [0.8, 0.5], [0.8, 0.65], [0.6, 0.65]]]
SCALE = {"lowest": 0.0, "highest": 18.0, "meaning": "the sum over six zones"}


class DrawnReader:
    """What `BrightReader` says, with pictures, outlines and severity; black films are refused as lateral.

    Args:
        second: whether another classifier answers too.
    """

    sizes = ()

    def __init__(self, *, second: bool) -> None:
        self._second = second

    def read(self, film: DecodedFilm, *, name: str, sha256: str, pictures: bool, drawn: bool) -> Told:
        pixels = film.by[max(film.by)]
        shown = {"film": uri(Image.fromarray(np.rint(pixels * 255).astype(np.uint8)))}
        if pixels.mean() < 0.1:
            return Told(
                answer=refused(name, sha256, "lateral", f"{name} looks like a lateral film") | {"pictures": shown}
            )
        answer = told(film, name, sha256) | {"pictures": shown, "severity": severity()}
        answer["lungs"] |= {"outlines": LUNGS, "measures": {"area_share": 0.3}}
        answer["lesions"] = {
            "ggo": {"outlines": HOLED, "boxes": [[0.2, 0.3, 0.2, 0.3]], "share_of_lungs": 0.18},
            "consolidation": {"outlines": SMALL, "boxes": [[0.6, 0.5, 0.2, 0.15]], "share_of_lungs": 0.09},
        }
        first = answer["answers"][0]
        first["map"]["picture"] = uri(map_over(slice(0, 32)))
        if self._second:
            second = first | {"bundle": OTHER.name, "title": OTHER.title, "verdict": "PASS", "outcome": "NEGATIVE"}
            answer["answers"].append(second | {"map": first["map"] | {"picture": uri(map_over(slice(32, 64)))}})
        return Told(answer=answer, drawn=(f"{name}__{first['label']}.png", POSITIVE) if drawn else None)


def severity() -> dict[str, Any]:
    zones = {"A": 0.0, "B": 1.0, "C": 2.5, "D": 0.4, "E": 3.0, "F": 1.2}
    return {"brixia": {"value": 8.1, "low": 4.0, "high": 11.0, "zones": zones} | SCALE}


def map_over(rows: slice) -> Image.Image:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[rows] = (255, 80, 40, 200)
    return Image.fromarray(pixels)


def uri(picture: Image.Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def ramp(low: int, high: int) -> bytes:
    """A film with a gradient both ways, so that where it lies and how it is windowed both show."""
    across, down = np.meshgrid(np.linspace(0, 1, 96), np.linspace(0, 1, 120))
    return png(Image.fromarray(np.rint(low + (high - low) * (0.7 * across + 0.3 * down)).astype(np.uint8)))


POSITIVE, NEGATIVE, OPEN, LATERAL = ramp(150, 250), ramp(20, 150), ramp(60, 195), ramp(0, 20)


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address of a server in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def films(*contents: bytes, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Films as an input takes them."""
    called = names or tuple(f"film {number}.png" for number in range(len(contents)))
    kinds = [{"name": name, "mimeType": "image/png"} for name in called]
    return [kind | {"buffer": content} for kind, content in zip(kinds, contents, strict=True)]


def send(page: Any, *contents: bytes, names: tuple[str, ...] = ()) -> None:
    """Choose films and wait until all have an answer and the first's picture is there."""
    before = page.locator("#films li").count()
    page.set_input_files("#file", films(*contents, names=names))
    page.locator("#films .badge").nth(before + len(contents) - 1).wait_for()
    settle(page)


def settle(page: Any) -> None:
    """Wait until what is decoded and drawn on the next frames is there."""
    page.evaluate(
        "() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 60))"
    )


def canvas(page: Any, name: str = "drawn") -> Pixels:
    """What a canvas shows: (H, W, 4)."""
    settle(page)
    data = page.evaluate("(name) => document.getElementById(name).toDataURL()", name)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA")).astype(np.int64)


def differ(one: Pixels, other: Pixels) -> bool:
    return one.shape != other.shape or bool((one != other).any())


def said(page: Any) -> str:
    text: str = page.locator("#answer").inner_text()
    return text


def reach(page: Any, name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"the key Tab does not reach {name}")


def seen(page: Any) -> str:
    """What stands under the film, once it is drawn."""
    settle(page)
    text: str = page.locator("#stage-says").inner_text()
    return text


def pressed(page: Any, name: str) -> str:
    """Whether a button of the viewer is pressed, once the film is drawn."""
    settle(page)
    told: str = page.locator(f"[data-do={name}]").get_attribute("aria-pressed")
    return told
