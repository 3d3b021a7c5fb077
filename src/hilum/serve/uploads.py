"""Films out of a request's body: in memory, within limits, and without the names they were sent under.

A framework's own form parser writes larger files to a temporary folder. Films are patients' data, so the body is
parsed here while it comes in, and no byte of it reaches a disk.
"""

import asyncio
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from hilum.serve.refusals import Refusal
from hilum.serve.settings import Settings

LONGEST_HEADER = 4096
"""Bytes of one part's header field: more than any name a file can have."""
MOST_PARTS = 64
MULTIPART = b"multipart/form-data"


async def received_films(request: Request, field: str, settings: Settings) -> list[bytes]:
    """The files a form sends in `field`, in order. A file input left empty sends none.

    Raises:
        Refusal: there are too many, they are too large or too slow, or the body is no form.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != MULTIPART or not boundary:
        raise Refusal(415, "not-a-form", f"films are sent as multipart/form-data in the field '{field}'")
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and int(stated) > settings.most_bytes:
        raise _too_large(settings)
    parts = Parts(boundary, field.encode(), settings)
    try:
        async with asyncio.timeout(settings.upload_s):
            await _feed(request.stream(), parts, settings)
    except TimeoutError:
        raise Refusal(408, "too-slow", f"the upload took longer than {settings.upload_s:g} s") from None
    else:
        return parts.films()
    finally:
        parts.forget()


async def _feed(body: AsyncIterator[bytes], parts: "Parts", settings: Settings) -> None:
    size = 0
    async for piece in body:
        size += len(piece)
        if size > settings.most_bytes:
            raise _too_large(settings)
        parts.write(piece)
    parts.finish()


def _too_large(settings: Settings) -> Refusal:
    return Refusal(413, "too-large", f"a request may have {settings.most_mb} MB at most")


class Parts:
    """Collects the files of one field from a multipart body, piece by piece.

    Args:
        boundary: what stands between the parts.
        field: whose parts are films.
        settings: how many there may be.
    """

    def __init__(self, boundary: bytes, field: bytes, settings: Settings) -> None:
        self._field, self._most = field, settings.most_films
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._number = 0
        self._current: bytearray | None = None
        self._films: list[bytearray] = []
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header,
                    "on_header_value": self._on_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._end,
                },
                max_header_size=LONGEST_HEADER,
            )
        except FormParserError:
            raise _broken() from None

    def write(self, piece: bytes) -> None:
        """Take up a piece of the body.

        Raises:
            Refusal: it is no form, or one of too many films or parts.
        """
        try:
            self._parser.write(piece)
        except FormParserError:  # it quotes what was sent
            raise _broken() from None

    def finish(self) -> None:
        """Say that the body is over.

        Raises:
            Refusal: the form is not.
        """
        if not self._ended:
            raise _broken()

    def films(self) -> list[bytes]:
        """What was collected; the buffers are given up one by one."""
        self._films.reverse()
        return [bytes(self._films.pop()) for _ in range(len(self._films))]

    def forget(self) -> None:
        """Let go of what came in: the parser and its callbacks hold each other, and would hold it for long."""
        self._films.clear()
        self._current = None

    def _begin(self) -> None:
        self._number += 1
        if self._number > MOST_PARTS:
            raise Refusal(413, "too-many", f"a form may have {MOST_PARTS} parts at most")
        self._disposition, self._current = b"", None

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        # A text field has no file name, a file input that nobody used an empty one; names are not looked at otherwise.
        if options.get(b"name") != self._field or not options.get(b"filename"):
            return
        if len(self._films) == self._most:
            raise Refusal(413, "too-many", f"a request may have {self._most} films at most")
        self._current = bytearray()
        self._films.append(self._current)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _broken() -> Refusal:
    return Refusal(400, "broken-form", "the form is broken or breaks off; send it again")
