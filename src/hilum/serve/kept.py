"""Results that are kept where the operator says so: one JSON file and one picture a film, in one folder.

Files are named by random numbers, so nothing sent can choose a name or guess one, and only their owner can read them.
"""

import contextlib
import datetime as dt
import json
import re
import secrets
import threading
from pathlib import Path
from typing import Any

from hilum.files import written_aside

IDENTIFIER = r"^[0-9a-f]{32}$"
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")

Answer = dict[str, Any]


class Kept:
    """A folder of results. Every method may be called by any thread.

    Args:
        folder: made where it is missing; what it holds already is listed too.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._lock = folder, threading.Lock()
        self._known: dict[str, Answer] = {}
        for file in folder.glob("*.json"):
            # A file that is none of ours has no place in the history, and is left alone.
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                if re.match(IDENTIFIER, file.stem):
                    self._known[file.stem] = summary(file.stem, json.loads(file.read_text(encoding="utf-8")))

    def add(self, answer: Answer, drawn: tuple[str, bytes] | None) -> str:
        """Keep an answer and return the identifier it got.

        Args:
            answer: as the API gives it; pictures in it are left out.
            drawn: the film with its result as PNG, and a name that carries label and probability.

        Raises:
            OSError: the folder cannot be written to.
        """
        identifier = secrets.token_hex(16)
        told = {name: value for name, value in answer.items() if name != "pictures"}
        told["kept_at"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        if drawn is not None:
            name = UNSAFE.sub("-", drawn[0].removesuffix(".png"))[:80]
            self._write(self._folder / f"{identifier}_{name}.png", drawn[1])
        text = json.dumps(without_pictures(told), indent=2, ensure_ascii=False, allow_nan=False)
        self._write(self._folder / f"{identifier}.json", text.encode())
        with self._lock:
            self._known[identifier] = summary(identifier, told)
        return identifier

    def history(self, most: int) -> list[Answer]:
        """What is kept, the newest first."""
        with self._lock:
            # Those of one second are known in the order they came.
            return sorted(self._known.values(), key=lambda one: str(one["kept_at"]))[-most:][::-1]

    def one(self, identifier: str) -> Answer | None:
        """A kept answer, None where there is none."""
        if identifier not in self._known:
            return None
        told: Answer = json.loads((self._folder / f"{identifier}.json").read_text(encoding="utf-8"))
        return told

    def picture(self, identifier: str) -> bytes | None:
        """A kept picture as PNG, None where there is none."""
        found = next(iter(self._pictures(identifier)), None)
        return found.read_bytes() if found else None

    def forget(self, identifier: str) -> bool:
        """Delete a result; False where there is none."""
        pictures = self._pictures(identifier)
        with self._lock:
            if self._known.pop(identifier, None) is None:
                return False
        for file in (*pictures, self._folder / f"{identifier}.json"):
            file.unlink(missing_ok=True)
        return True

    def _pictures(self, identifier: str) -> list[Path]:
        return list(self._folder.glob(f"{identifier}_*.png")) if identifier in self._known else []

    def _write(self, path: Path, content: bytes) -> None:
        with written_aside(path) as aside:
            aside.touch(0o600)
            aside.write_bytes(content)


def summary(identifier: str, told: Answer) -> Answer:
    """A line of the history."""
    first = next(iter(told["answers"]), None)
    finding = _decided(first) if first else None
    return {
        "id": identifier,
        "kept_at": told.get("kept_at"),
        "film": told["film"]["name"],
        "sha256": told["film"]["sha256"],
        "outcome": told["outcome"],
        "bundle": first["bundle"] if first else None,
        "label": first["label"] if first else None,
        "probability": finding["probability"] if finding else None,
        "refusal": told["refusal"],
    }


def without_pictures(told: Answer) -> Answer:
    """The answer with its maps' pictures left out."""
    answers = [
        one | {"map": {name: value for name, value in (one["map"] or {}).items() if name != "picture"} or None}
        for one in told["answers"]
    ]
    return told | {"answers": answers}


def _decided(one: Answer) -> Answer | None:
    return next((finding for finding in one["findings"] if finding["label"] == one["label"]), None)
