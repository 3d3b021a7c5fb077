"""What the API answers, for its OpenAPI document. Coordinates are fractions of the film's width and height."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    """Values with known names only."""

    model_config = ConfigDict(extra="forbid")


class FilmFacts(Closed):
    """Which film: named by its place in the request, never by the name it was sent under."""

    name: str
    sha256: str
    height: int | None
    width: int | None
    format: str | None


class Refused(Closed):
    """Why there is no reading."""

    kind: str
    says: str


class FindingTold(BaseModel):
    """A label's calibrated probability, its interval, and the threshold it is held against."""

    label: str
    probability: float = Field(ge=0, le=1)
    low: float | None
    high: float | None
    threshold: float | None


class BundleAnswer(BaseModel):
    """What one classifier says."""

    bundle: str
    title: str
    digest: str
    outcome: str
    label: str | None
    findings: list[FindingTold]
    interval: str | None
    reasons: list[str]
    verdict: str | None
    headline: str | None
    map: dict[str, Any] | None


class FilmAnswer(BaseModel):
    """One film's reading, or its refusal."""

    film: FilmFacts
    outcome: Literal["POSITIVE", "NEGATIVE", "INCONCLUSIVE", "REFUSED"]
    refusal: Refused | None
    notes: list[str]
    view: dict[str, Any] | None
    lungs: dict[str, Any] | None
    lesions: dict[str, Any] | None
    severity: dict[str, Any] | None
    answers: list[BundleAnswer]
    pictures: dict[str, str] | None = None
    seconds: dict[str, float]
    disclaimer: str
    kept: str | None = None


class ServedBundle(BaseModel):
    """A classifier that films are read with."""

    name: str
    title: str
    digest: str
    classes: list[str]
    headline: str | None
    verdict: str | None


class KeptResult(Closed):
    """A line of the history."""

    id: str
    kept_at: str | None
    film: str
    sha256: str
    outcome: str
    bundle: str | None
    label: str | None
    probability: float | None
    refusal: Refused | None


class Wrong(Closed):
    """Why a request is not answered."""

    kind: str
    says: str


class Failure(Closed):
    """The body of every answer of status 400 and above."""

    error: Wrong


def _failures(said: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    # Written out, because FastAPI would give a failure of a page's route the page's media type.
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    return {status: {"description": words, "content": content} for status, words in said.items()}


FAILURES = _failures(
    {
        401: "The token is missing or wrong.",
        403: "A form of another site.",
        421: "A Host header that is not this server's.",
        429: "Too often, or all places are taken; Retry-After says when to come back.",
        500: "Something went wrong in the server.",
    }
)
MISSING = FAILURES | _failures({404: "There is none, or nothing is kept.", 422: "A parameter that is not valid."})
NO_CARD = _failures({501: "Cards cannot be made here."})
UPLOAD_FAILURES = FAILURES | _failures(
    {
        408: "The upload took too long.",
        413: "Too large, or too many films.",
        415: "Not a form.",
        422: "A parameter that is not valid.",
    }
)
UPLOAD_FAILURES[400] = {"model": Failure, "description": "No film, or a broken form."}


def upload_of(field: str) -> dict[str, Any]:
    """The request body of a form whose `field` holds films."""
    films = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "properties": {field: films}, "required": [field]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
