"""What happens around every request: an id, safe headers, a count, a line in the log, an answer to every error."""

import asyncio
import contextlib
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hilum.serve.counting import METHODS, Counts
from hilum.serve.logs import say, say_failure
from hilum.serve.refusals import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# With `no-referrer` browsers would send `Origin: null` with our own form, and it could not be told from a foreign one.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
GONE = 499
"""How a client that went away before its answer is counted."""
DRAIN_S = 2.0


class Watch:
    """The outermost middleware: no exception leaves it, so none is printed with what it quotes."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self.app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["hilum.request"] = secrets.token_hex(8)
        start, exchange = time.monotonic(), Exchange(scope, receive, send)
        await self._answer(scope, exchange)
        seconds = time.monotonic() - start
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._counts.request(method, route, exchange.status)
        say(
            "request",
            request=scope["hilum.request"],
            method=method,
            route=route,
            status=exchange.status,
            seconds=round(seconds, 4),
        )

    async def _answer(self, scope: Scope, exchange: "Exchange") -> None:
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = GONE
        except Refusal as refusal:
            await refusal.response()(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - see the class
            say_failure("failed", error, request=scope["hilum.request"])
            if not exchange.started:
                failed = Refusal(500, "failed", "something went wrong in the server; its log says where")
                await failed.response()(scope, exchange.receive, exchange.send)


class Exchange:
    """One request and its answer, with our headers on it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send, self._id = receive, send, scope["hilum.request"]
        headers = Headers(scope=scope)
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        # A client that waits for "100 Continue" has not sent its body, and reading would ask it to.
        self._waits = "expect" in headers
        self.started = False
        self.status = GONE

    async def receive(self) -> Message:
        message = await self._receive()
        self._waits = False
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self._id
            if self.status >= 400 and self._unread and not self._waits:
                await self._drain()
        await self._send(message)

    async def _drain(self) -> None:
        """Read and forget the rest of the body: a client still sending would lose the answer to a closed connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._unread:
                    await self.receive()
