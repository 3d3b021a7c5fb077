"""Who may ask: the Host header, the rate, the token and where a form comes from, checked before anything else."""

import base64
import binascii
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hilum.serve.limiting import Rate
from hilum.serve.refusals import Refusal
from hilum.serve.settings import LOOPBACK, Settings

OPEN = frozenset({"/healthz", "/readyz"})
"""Answered to everybody, as probes come by address and without a token; they tell up or down, nothing else."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
STATIC = "/static/"
WANTED = {"WWW-Authenticate": 'Basic realm="hilum", charset="UTF-8"'}


class Gate:
    """Middleware that lets a request in or raises a `Refusal`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._hosts = frozenset(map(_bare, (*LOOPBACK, *settings.hosts)))
        self._token = settings.token
        self._rate = Rate(settings.per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            headers = Headers(scope=scope)
            check_host(headers, self._hosts)
            if not scope["path"].startswith(STATIC):
                self._rate.take((scope.get("client") or ("unknown",))[0])
            check_token(headers, self._token)
            if scope["method"] not in SAFE:
                check_origin(headers)
        await self.app(scope, receive, send)


def _bare(host: str) -> str:
    """A host's name without port, brackets and case."""
    name = host.strip().casefold()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return (name if name.count(":") > 1 else name.partition(":")[0]).rstrip(".")


def check_host(headers: Headers, hosts: Iterable[str]) -> None:
    """Refuse a request for a name that is not ours.

    A page of another site can have its own name resolve to this machine's address, and would then read what this
    server answers (DNS rebinding); the name it asks for gives it away.
    """
    named = headers.getlist("host")
    if len(named) != 1 or _bare(named[0]) not in hosts:
        raise Refusal(421, "foreign-host", "this server does not answer to that name; allow it with --allow-host")


def check_token(headers: Headers, token: str | None) -> None:
    """Refuse a request without the token, as a Bearer token or as the password of any user."""
    if token is None:
        return
    kind, _, told = headers.get("authorization", "").partition(" ")
    given = told.strip().encode()
    if kind.casefold() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            given = b""
    if kind.casefold() not in ("bearer", "basic") or not secrets.compare_digest(given, token.encode()):
        raise Refusal(401, "no-token", "this server wants its token", headers=WANTED)


def check_origin(headers: Headers) -> None:
    """Refuse what a browser sends for a page of another site; programs send neither header and are let through."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        allowed = site in ("same-origin", "none")
    elif origin is not None:
        allowed = urlsplit(origin).netloc.casefold() == headers.get("host", "").casefold()
    else:
        allowed = True
    if not allowed:
        raise Refusal(403, "foreign-page", "forms of other sites are not accepted")
