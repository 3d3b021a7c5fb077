"""Decoding in a process of its own: what is decoded, and what crashing, hanging and unfolding films cost."""

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import UnreadableFilm
from hilum.pixels import read_film
from hilum.serve import decoder as child
from hilum.serve.decoder import film_of
from hilum.serve.decoding import SLOW, Decoder
from hilum.serve.settings import DecodingLimits

from .pixels.conftest import DicomFiles
from .pixels.test_raster import drawn, jpeg, png
from .serving import BRIGHT, DARK, films, serving


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(DecodingLimits())
    yield decoder
    decoder.close()


@pytest.mark.parametrize("name", ["implicit", "RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless", "PNG", "JPEG"])
def test_a_film_is_the_one_read_here(decoder: Decoder, name: str) -> None:
    data = {"PNG": png(drawn()), "JPEG": jpeg(drawn())}.get(name) or DicomFiles().of_syntax(name)
    found, expected = decoder.decode(data), read_film(data)
    assert [*found.by] == [1]
    np.testing.assert_array_equal(found.by[1], expected.pixels)
    assert found.by[1].flags.writeable
    assert found.facts.format == expected.facts.format
    assert found.facts.warnings == expected.facts.warnings


def test_large_jpegs_are_decoded_for_each_size_wanted() -> None:
    data = jpeg(drawn(600, 800))
    decoder = Decoder(DecodingLimits(), (48, 100, 600))
    try:
        found = decoder.decode(data)
        assert [*decoder.decode(png(drawn(600, 800))).by] == [1]
    finally:
        decoder.close()
    assert sorted(found.by) == [1, 4, 8]
    for size, by in ((600, 1), (100, 4), (48, 8)):
        np.testing.assert_array_equal(found.by[by], read_film(data, at_least_px=size).pixels)
    assert (found.facts.height, found.facts.width) == (600, 800)


def test_the_server_is_not_told_who_it_is(decoder: Decoder) -> None:
    facts = decoder.decode(DicomFiles()(DicomFiles.drawn(), StudyDate="20200301", ViewPosition="PA")).facts
    assert (facts.patient_id, facts.acquired) == (None, None)
    assert str(facts.view_position) == "PA"


def test_a_refusal_says_what_it_says_here(decoder: Decoder) -> None:
    before = decoder.pid
    with pytest.raises(UnreadableFilm, match=r"^truncated: the film "):
        decoder.decode(BRIGHT[:200])
    assert decoder.pid == before


def test_a_process_that_died_idle_is_replaced_unnoticed(decoder: Decoder) -> None:
    decoder.decode(BRIGHT)
    before, restarts = decoder.pid, decoder.restarts
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert decoder.decode(BRIGHT).by[1].shape == (64, 64)
    assert (decoder.pid != before, decoder.restarts) == (True, restarts + 1)


def stopped(decoder: Decoder) -> int:
    """Make the process hang before it gets the next film."""
    decoder.wait_ready()
    os.kill(decoder.pid, signal.SIGSTOP)
    return decoder.pid


def test_a_film_that_kills_its_process_is_refused_and_the_next_is_read(decoder: Decoder) -> None:
    pid = stopped(decoder)
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGSEGV))
    killer.start()
    threading.Timer(0.4, os.kill, (pid, signal.SIGCONT)).start()
    with pytest.raises(UnreadableFilm, match=r"^crashed: the film crashed its decoder$"):
        decoder.decode(BRIGHT)
    assert decoder.decode(DARK).by[1].max() < 0.4


@pytest.mark.parametrize("size", [64, 4_000_000], ids=["small", "more than a pipe holds"])
def test_a_film_that_hangs_is_refused_in_time(size: int) -> None:
    decoder = Decoder(DecodingLimits(wall_s=0.5))
    try:
        decoder.decode(BRIGHT)
        stopped(decoder)
        with pytest.raises(UnreadableFilm, match=f"^{SLOW}$"):
            decoder.decode(BRIGHT + bytes(size))
    finally:
        decoder.close()


def test_a_film_that_needs_too_much_memory_is_refused() -> None:
    large = png(np.tile(np.arange(5000, dtype=np.uint16), (5000, 1)), compress_level=1)
    decoder = Decoder(DecodingLimits(memory_mb=420))
    try:
        with pytest.raises(UnreadableFilm):
            decoder.decode(large)
        assert decoder.decode(BRIGHT).by[1].shape == (64, 64)
    finally:
        decoder.close()
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_processor_time_is_bounded() -> None:
    decoder = Decoder(DecodingLimits(cpu_s=7))
    try:
        decoder.decode(BRIGHT)
        limits = Path(f"/proc/{decoder.pid}/limits").read_text()
        allowed = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        assert 8 <= int(allowed["Max cpu time"]) <= 20
        assert allowed["Max file size"] == "0"
        assert allowed["Max core file size"] == "0"
        assert int(allowed["Max address space"]) == 2048 * 1024 * 1024
        os.kill(stopped(decoder), signal.SIGXCPU)
        threading.Timer(0.2, os.kill, (decoder.pid, signal.SIGCONT)).start()
        with pytest.raises(UnreadableFilm, match=f"^{SLOW}$"):
            decoder.decode(BRIGHT)
    finally:
        decoder.close()


def test_the_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_TOKEN", "a long random token")
    decoder = Decoder(DecodingLimits())
    try:
        decoder.decode(BRIGHT)
        environment = Path(f"/proc/{decoder.pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"token" not in environment.lower()
        assert {str(Path(f"/proc/{decoder.pid}/fd/{one}").readlink()) for one in (0, 1, 2)} == {"/dev/null"}
    finally:
        decoder.close()


def head_of(**changes: Any) -> bytes:
    facts = {"format": "PNG", "width": 2, "height": 2, "mode": "L", "bits": 8, "bytes": 9}
    return json.dumps({"facts": facts, "shapes": {"1": [2, 2]}} | changes).encode()


GOOD = np.full(4, 0.5, "<f4")


@pytest.mark.parametrize(
    ("head", "pixels"),
    [
        (b"[", GOOD),
        (b"[]", GOOD),
        (b"{}", GOOD),
        (head_of(shapes={"1": [4, 4]}), GOOD),
        (head_of(shapes={"1": [-2, -2]}), GOOD),
        (head_of(facts={"format": "DOE"}), GOOD),
        (head_of(), GOOD * np.nan),
        (head_of(), GOOD + 1),
        (head_of(), GOOD[:0]),
        (head_of(), GOOD[:3]),
    ],
    ids=["no JSON", "a list", "nothing", "larger", "negative", "facts", "NaN", "above 1", "empty", "short"],
)
def test_forged_answers_are_none(head: bytes, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    assert film_of(head_of(), bytearray(GOOD.tobytes())).by[1].shape == (2, 2)
    with pytest.raises((ValueError, KeyError, TypeError)):
        film_of(head, bytearray(pixels.astype("<f4").tobytes()))


def test_what_codecs_raise_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []
    monkeypatch.setattr(child, "_send", lambda _stream, head, *pixels: answers.append(head))
    for error in (MemoryError("DOE"), ValueError("DOE")):

        def fails(_film: bytes, *, at_least_px: int | None, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(child, "read_film", fails)
        assert not child._answer(None, b"", ())  # type: ignore[arg-type]
    assert answers == [{"refused": child.NO_MEMORY}, {"refused": child.BEYOND}]


def test_over_http_a_killed_decoder_costs_its_film_alone() -> None:
    with serving(decoding=DecodingLimits(wall_s=20)) as client:
        assert client.post("/api/read", files=films(BRIGHT)).json()[0]["outcome"] == "POSITIVE"
        (decoder,) = client.app.state.room.decoders  # type: ignore[attr-defined]
        pid = stopped(decoder)
        threading.Timer(0.4, os.kill, (pid, signal.SIGKILL)).start()
        start = time.monotonic()
        answers = client.post("/api/read", files=films(BRIGHT, DARK)).json()
        assert time.monotonic() - start < 15
        assert [one["outcome"] for one in answers] == ["REFUSED", "NEGATIVE"]
        assert answers[0]["refusal"] == {"kind": "crashed", "says": "film-1 crashed its decoder"}
        assert "hilum_decoder_restarts 1" in client.get("/metrics").text
        assert client.get("/readyz").status_code == 200
