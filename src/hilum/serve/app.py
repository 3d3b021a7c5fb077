"""The web application: routes behind a gate, everything watched."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import hilum
from hilum.records import DISCLAIMER
from hilum.serve.cards import Cards
from hilum.serve.counting import Counts
from hilum.serve.gate import Gate
from hilum.serve.kept import Kept
from hilum.serve.reading import FilmReader
from hilum.serve.refusals import Refusal
from hilum.serve.room import Room
from hilum.serve.routes import Service, all_routes
from hilum.serve.schema import ServedBundle
from hilum.serve.settings import Settings
from hilum.serve.watching import Watch

KINDS = {404: "not-found", 405: "wrong-method"}
SAID = {404: "there is nothing at this address", 405: "this address takes other methods only"}


def create_app(
    reader: FilmReader,
    bundles: Sequence[ServedBundle],
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    cards: Mapping[str, Path] | None = None,
) -> FastAPI:
    """The application.

    Args:
        reader: called by as many threads as there are workers.
        bundles: the classifiers it reads with.
        settings: how much is allowed.
        cards: bundle name -> folder, of the bundles whose cards are shown.
    """
    counts, kept = Counts(), Kept(settings.keep) if settings.keep else None
    room = Room(reader, settings, counts, kept)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        room.open()
        try:
            yield
        finally:
            room.close()

    app = FastAPI(
        title="hilum",
        version=hilum.__version__,
        description=DISCLAIMER,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # it would load its script from another site
        redoc_url=None,
    )
    app.state.room = room
    service = Service(settings=settings, room=room, counts=counts, bundles=bundles, cards=Cards(cards or {}), kept=kept)
    app.include_router(all_routes(service))
    _guard(app, settings, counts)
    return app


def _guard(app: FastAPI, settings: Settings, counts: Counts) -> None:
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(Watch, counts=counts)  # added last: outermost


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Refusal):
        raise error
    return error.response()


async def _http(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    says = SAID.get(status, "this request cannot be answered")
    return Refusal(status, KINDS.get(status, "wrong-request"), says, headers=error.headers).response()


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """Say which parameter it is, by our own name for it, never what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    names = sorted({str(one["loc"][1]) for one in error.errors() if len(one["loc"]) > 1})
    said = f"the parameter '{names[0]}' is missing or not valid" if names else "a parameter is missing or not valid"
    return Refusal(422, "wrong-parameter", said).response()
