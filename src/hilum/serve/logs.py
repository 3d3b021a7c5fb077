"""A line of JSON for everything that happens. No address, name, header or query of a request is ever in one."""

import datetime as dt
import json
import logging
import traceback
from typing import Any

LOGGER = logging.getLogger("hilum.serve")
OURS = ("hilum", "uvicorn")
"""Loggers whose messages are known to say nothing of what was sent."""


def say(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its facts."""
    LOGGER.log(level, event, extra={"fields": fields})


def say_failure(event: str, error: BaseException, **fields: Any) -> None:
    """Log an error by its type and its places in the code: its message may quote what a film or a request says."""
    say(event, level=logging.ERROR, error=type(error).__name__, at=_places(error), **fields)


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


class JsonLines(logging.Formatter):
    """One JSON object a record; messages of other libraries are left out, their names are not."""

    def format(self, record: logging.LogRecord) -> str:
        when = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "logger": record.name}
        if record.name.partition(".")[0] in OURS:
            line["event"] = record.getMessage()
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line |= {"error": type(record.exc_info[1]).__name__, "at": _places(record.exc_info[1])}
        return json.dumps(line, ensure_ascii=False)


def configure() -> None:
    """Send every logger's records to standard error as JSON lines; called by the command, never on import."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
