"""Where films are read: a few threads, each with a decoding process of its own, and a bounded queue."""

import asyncio
import hashlib
import math
import queue
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from hilum.errors import HilumError, UnreadableFilm
from hilum.serve.counting import Counts
from hilum.serve.decoding import Decoder
from hilum.serve.kept import Kept
from hilum.serve.limiting import Places
from hilum.serve.logs import say, say_failure
from hilum.serve.reading import Answer, FilmReader, Told, refused
from hilum.serve.settings import Settings

LONGEST_WAIT_S = 60


@dataclass(slots=True, eq=False)
class Upload:
    """A film on its way; its bytes are let go of as soon as they are taken or nobody waits for them any more."""

    name: str
    data: bytes | None

    def take(self) -> bytes | None:
        data, self.data = self.data, None
        return data


@dataclass(eq=False)
class Room:
    """Reads films for the event loop.

    Args:
        reader: called by several threads at once.
        settings: how much is allowed.
        counts: told of every film.
        kept: where results are kept, if they are.
    """

    reader: FilmReader
    settings: Settings
    counts: Counts
    kept: Kept | None = None
    places: Places = field(init=False)
    decoders: list[Decoder] = field(init=False, default_factory=list)
    _free: "queue.SimpleQueue[Decoder]" = field(init=False, default_factory=queue.SimpleQueue)
    _threads: ThreadPoolExecutor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.places = Places(self.settings.places)

    def open(self) -> None:
        """Start the decoding processes."""
        for _ in range(self.settings.workers):
            self.decoders.append(Decoder(self.settings.decoding, self.reader.sizes))
            self._free.put(self.decoders[-1])
        self._threads = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="reading")

    def close(self) -> None:
        """Finish the films being read, forget the others, end the processes."""
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        while self.decoders:
            self.decoders.pop().close()

    @property
    def ready(self) -> bool:
        """Whether films can be taken in now."""
        return self._threads is not None and self.places.taken < self.places.most

    def gauges(self) -> Mapping[str, float]:
        """What is so now, for the metrics."""
        return {
            "ready": float(self.ready),
            "places": self.places.most,
            "places_taken": self.places.taken,
            "decoder_restarts": sum(decoder.restarts for decoder in self.decoders),
        }

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place from before the upload until the answer.

        Raises:
            Refusal: all are taken; says when one may be free.
        """
        wait = math.ceil(self.counts.mean_s * self.places.taken / self.settings.workers)
        with self.places.one(min(LONGEST_WAIT_S, max(1, wait))):
            yield

    async def read(self, films: list[bytes], *, pictures: bool, request: str) -> list[Answer]:
        """Answers in the order of the films, which are called film-1, film-2 and so on; the list is emptied.

        Args:
            films: the bytes of each.
            pictures: whether pictures are wanted.
            request: the request's id, for the log.
        """
        if self._threads is None:
            raise HilumError("the room is closed")
        uploads = [Upload(f"film-{number}", data) for number, data in enumerate(films, 1)]
        films.clear()
        loop = asyncio.get_running_loop()
        answers = [loop.run_in_executor(self._threads, self._one, upload, pictures, request) for upload in uploads]
        try:
            return [self._counted(*await answer) for answer in answers]
        finally:
            for upload, answer in zip(uploads, answers, strict=True):
                answer.cancel()
                upload.take()

    def _counted(self, answer: Answer, seconds: float) -> Answer:
        refusal = answer["refusal"]
        self.counts.film(answer["outcome"], refusal["kind"] if refusal else "", seconds)
        return answer

    def _one(self, upload: Upload, pictures: bool, request: str) -> tuple[Answer, float]:
        """In a thread: decode, read, keep."""
        decoder, start = self._free.get(), time.monotonic()
        try:
            data = upload.take() or b""
            told = self._told(decoder, upload.name, data, pictures, request)
        finally:
            self._free.put(decoder)
        answer = self._kept(told, request)
        seconds = time.monotonic() - start
        say("film", request=request, film=upload.name, outcome=answer["outcome"], seconds=round(seconds, 4))
        return answer, seconds

    def _told(self, decoder: Decoder, name: str, data: bytes, pictures: bool, request: str) -> Told:
        digest, start = hashlib.sha256(data).hexdigest(), time.monotonic()
        try:
            film = decoder.decode(data)
            decoding_s = time.monotonic() - start
            told = self.reader.read(film, name=name, sha256=digest, pictures=pictures, drawn=self.kept is not None)
        except UnreadableFilm as refusal:
            kind, _, says = str(refusal).partition(": ")
            return Told(answer=refused(name, digest, kind.replace(" ", "-"), says.replace("the film", name, 1)))
        except Exception as error:  # noqa: BLE001 - one film's misfortune is not the others'
            say_failure("film failed", error, request=request, film=name)
            return Told(
                answer=refused(name, digest, "failed", f"{name} could not be read: the server's log says where")
            )
        told.answer["seconds"] = {"decode": round(decoding_s, 4), **told.answer["seconds"]}
        return told

    def _kept(self, told: Told, request: str) -> Answer:
        answer = told.answer
        if self.kept is not None:
            try:
                answer["kept"] = self.kept.add(answer, told.drawn)
            except OSError as error:
                say_failure("not kept", error, request=request)
                answer["kept"] = None
                answer["notes"] = [*answer["notes"], "the result could not be kept: its folder cannot be written to"]
        return answer
