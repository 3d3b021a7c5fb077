"""Why a request is not answered: a status, a kind programs can go by, and one sentence."""

from collections.abc import Mapping

from starlette.responses import JSONResponse


class Refusal(Exception):
    """A request that is turned away. Neither kind nor sentence holds anything that the request said."""

    def __init__(self, status: int, kind: str, says: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(says)
        self.status = status
        self.kind = kind
        self.says = says
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The refusal as an answer."""
        return JSONResponse({"error": {"kind": self.kind, "says": self.says}}, self.status, self.headers)


def too_many(kind: str, says: str, seconds: int) -> Refusal:
    """A refusal that says when to come back."""
    return Refusal(429, kind, f"{says}; come back in {seconds} s", headers={"Retry-After": str(seconds)})
