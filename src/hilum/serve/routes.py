"""What can be asked for, and what is answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.requests import ClientDisconnect

from hilum.serve import pages
from hilum.serve.cards import CARD_POLICY, Cards
from hilum.serve.counting import CONTENT_TYPE, Counts
from hilum.serve.kept import IDENTIFIER, Kept
from hilum.serve.reading import Answer
from hilum.serve.refusals import Refusal
from hilum.serve.room import Room
from hilum.serve.schema import (
    FAILURES,
    MISSING,
    NO_CARD,
    UPLOAD_FAILURES,
    FilmAnswer,
    KeptResult,
    ServedBundle,
    upload_of,
)
from hilum.serve.settings import Settings
from hilum.serve.uploads import received_films

NO_FILM = Refusal(400, "no-film", "no film was sent; choose a DICOM, PNG or JPEG file")
Identifier = Annotated[str, InPath(pattern=IDENTIFIER, description="As /api/kept lists it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything the routes work with."""

    settings: Settings
    room: Room
    counts: Counts
    bundles: Sequence[ServedBundle]
    cards: Cards
    kept: Kept | None


def all_routes(service: Service) -> APIRouter:
    """Every route of the application."""
    router = APIRouter()
    for add in (_add_reading, _add_page, _add_bundles, _add_kept, _add_health):
        add(router, service)
    return router


async def read_request(service: Service, request: Request, field: str, *, pictures: bool) -> list[Answer]:
    """Take in a request's films and read them, unless the client goes away before.

    Raises:
        Refusal: the request is not answered.
        ClientDisconnect: nobody waits for the answer.
    """
    with service.room.place():
        films = await received_films(request, field, service.settings)
        if not films:
            raise NO_FILM
        reading = service.room.read(films, pictures=pictures, request=request.scope["hilum.request"])
        return await _unless_gone(request, asyncio.ensure_future(reading))


async def _unless_gone(request: Request, reading: "asyncio.Future[list[Answer]]") -> list[Answer]:
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise ClientDisconnect
        return reading.result()
    finally:
        for waiting in (gone, reading):
            waiting.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_reading(router: APIRouter, service: Service) -> None:
    @router.post(
        "/api/read",
        response_model=list[FilmAnswer],
        responses=UPLOAD_FAILURES,
        openapi_extra=upload_of("films"),
        summary="Read films",
    )
    async def read(
        request: Request, pictures: Annotated[bool, Query(description="Send pictures of film and map too.")] = False
    ) -> JSONResponse:
        """One answer a film, in order; a film that cannot be read is refused in its place."""
        return JSONResponse(await read_request(service, request, "films", pictures=pictures))


def _add_page(router: APIRouter, service: Service) -> None:
    def shown(results: Sequence[Answer] = (), refusal: Refusal | None = None) -> HTMLResponse:
        text = pages.page(
            bundles=[one.model_dump() for one in service.bundles],
            results=results,
            message=refusal.says if refusal else "",
            most_films=service.settings.most_films,
            most_mb=service.settings.most_mb,
            keep=bool(service.settings.keep),
        )
        # A form sent without a file is a page without a result, not an error of the person who sent it.
        failed = refusal if refusal and refusal.kind != NO_FILM.kind else None
        return HTMLResponse(text, failed.status if failed else 200, failed.headers if failed else None)

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def front() -> HTMLResponse:
        return shown()

    @router.post("/query", response_class=HTMLResponse, include_in_schema=False)
    async def query(request: Request) -> HTMLResponse:
        try:
            return shown(await read_request(service, request, "file", pictures=True))
        except Refusal as refusal:
            return shown(refusal=refusal)

    @router.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str, v: str = "") -> Response:
        asset = pages.assets().get(name)
        if asset is None:
            raise Refusal(404, "not-found", "there is no such file")
        caching = "public, max-age=31536000, immutable" if v == asset.digest else "no-cache"
        headers = {"Cache-Control": caching, "ETag": f'"{asset.digest}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.type, headers=headers)


def _add_bundles(router: APIRouter, service: Service) -> None:
    @router.get("/api/bundles", responses=FAILURES, summary="The classifiers films are read with")
    async def bundles() -> list[ServedBundle]:
        return list(service.bundles)

    @router.get(
        "/api/card",
        responses=MISSING
        | {
            200: {"content": {"text/html": {}, "application/json": {}}, "description": "The card."},
        }
        | NO_CARD,
        response_class=HTMLResponse,
        summary="A bundle's card, as a page or as JSON",
    )
    async def card(
        bundle: Annotated[str, Query(max_length=200)],
        format: Literal["html", "json"] = "html",  # noqa: A002
    ) -> Response:
        page, told = await asyncio.to_thread(service.cards.card, bundle)
        if format == "json":
            return JSONResponse(told)
        return HTMLResponse(page, headers={"Content-Security-Policy": CARD_POLICY})


def _add_kept(router: APIRouter, service: Service) -> None:
    def kept() -> Kept:
        if service.kept is None:
            raise Refusal(404, "nothing-kept", "this server keeps no results; start it with --keep")
        return service.kept

    @router.get("/api/kept", responses=MISSING, summary="What is kept, the newest first")
    async def history(most: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[KeptResult]:
        return [KeptResult.model_validate(one) for one in kept().history(most)]

    @router.get("/api/kept/{id}", responses=MISSING, response_model=dict[str, Any], summary="A kept result")
    async def one(id: Identifier) -> JSONResponse:  # noqa: A002
        return JSONResponse(_found(await asyncio.to_thread(kept().one, id)))

    @router.get(
        "/api/kept/{id}/picture",
        responses=MISSING | {200: {"content": {"image/png": {}}, "description": "The film with its result."}},
        response_class=Response,
        summary="A kept result's picture",
    )
    async def picture(id: Identifier) -> Response:  # noqa: A002
        return Response(_found(await asyncio.to_thread(kept().picture, id)), media_type="image/png")

    @router.delete("/api/kept/{id}", responses=MISSING, status_code=204, summary="Delete a kept result")
    async def forget(id: Identifier) -> Response:  # noqa: A002
        _found(await asyncio.to_thread(kept().forget, id) or None)
        return Response(status_code=204)


def _found(value: Any) -> Any:
    if value is None:
        raise Refusal(404, "not-found", "nothing of that identifier is kept")
    return value


def _add_health(router: APIRouter, service: Service) -> None:
    @router.get("/healthz", response_class=PlainTextResponse, summary="Is the server up?")
    async def healthz() -> str:
        return "up\n"

    @router.get(
        "/readyz",
        response_class=PlainTextResponse,
        responses={503: {"content": {"text/plain": {}}, "description": "Not now."}},
        summary="Can it take a film now?",
    )
    async def readyz() -> Response:
        ready = service.room.ready
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    @router.get("/metrics", response_class=PlainTextResponse, responses=FAILURES, summary="For Prometheus")
    async def metrics() -> Response:
        return Response(service.counts.text(service.room.gauges()), media_type=CONTENT_TYPE)
