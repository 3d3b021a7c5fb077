"""Decoding in a guarded process: a film that crashes, hangs or never stops unfolding costs that process alone."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from io import BufferedReader, BufferedWriter
from typing import cast

from hilum.errors import UnreadableFilm, UsageError
from hilum.parallel import CRASHED
from hilum.pixels.film import MOST_PIXELS
from hilum.serve.decoder import BEYOND, LENGTH, NO_MEMORY, DecodedFilm, command, film_of
from hilum.serve.settings import DecodingLimits

SLOW = "too slow: the film took longer to decode than a film may take"
STARTING_S = 120.0
LONGEST_HEAD = 1_000_000
MOST_ANSWERED = 6 * MOST_PIXELS
"""Bytes: the largest film as float32, and reduced to a half, a quarter and an eighth."""
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT")
"""What the process is told of the environment: no token, no key."""


class Decoder:
    """Decodes one film after the other in a process that is kept warm and replaced when it dies.

    Not for several threads at once.

    Args:
        limits: what one film may cost.
        sizes: which sizes films will be reduced to.
    """

    def __init__(self, limits: DecodingLimits, sizes: Sequence[int] = ()) -> None:
        self.limits = limits
        self._command = command(limits, sizes)
        self.restarts = 0
        self._process = self._started()
        self._ready = self._late = False

    @property
    def pid(self) -> int:
        """The process that will get the next film, unless it dies before."""
        return self._process.pid

    def decode(self, film: bytes) -> DecodedFilm:
        """Decode a film.

        Raises:
            UnreadableFilm: it must not be used, or was too much for the process.
        """
        try:
            try:
                answer = self._exchange(film)
            except BrokenPipeError:
                if self._late:
                    raise
                self._replace()  # it had died while it had nothing to do
                answer = self._exchange(film)
            return film_of(*answer)
        except UnreadableFilm as refusal:
            if str(refusal) in (NO_MEMORY, BEYOND):
                self._replace()
            raise
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # no answer, or none of ours
            slow = self._late or self._out_of_time()
            self._replace()
        raise UnreadableFilm(SLOW if slow else f"crashed: {CRASHED}")

    def wait_ready(self) -> None:
        """Wait until the process can take a film; one that died while idle is replaced.

        Raises:
            UsageError: no process can be started.
        """
        if self._process.poll() is not None:
            self._replace()
        for _ in range(2):
            if self._ready:
                return
            try:
                with self._watched(STARTING_S):
                    self._ready = bool(self._read()[0])
            except (OSError, EOFError, ValueError):
                self._replace()
        if not self._ready:
            raise UsageError("the process that decodes films cannot be started; is the memory limit too small?")

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # the terminal's interrupt is the server's to deal with
        )

    def _replace(self) -> None:
        self.close()
        self._process, self._ready = self._started(), False
        self.restarts += 1

    def _out_of_time(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1) == -signal.SIGXCPU
        return False

    @contextlib.contextmanager
    def _watched(self, seconds: float) -> Iterator[None]:
        """Kill the process when the block takes longer, which ends every read from it and write to it."""
        process = self._process

        def end() -> None:
            self._late = True
            process.kill()

        self._late = False
        watch = threading.Timer(seconds, end)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _exchange(self, film: bytes) -> tuple[bytes, bytearray]:
        self.wait_ready()
        with self._watched(self.limits.wall_s):
            stream = cast("BufferedWriter", self._process.stdin)
            stream.write(LENGTH.pack(len(film)))
            stream.write(film)
            stream.flush()
            return self._read()

    def _read(self) -> tuple[bytes, bytearray]:
        stream = cast("BufferedReader", self._process.stdout)
        return bytes(_message(stream, LONGEST_HEAD)), _message(stream, MOST_ANSWERED)


def _message(stream: BufferedReader, most: int) -> bytearray:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    if size > most:
        raise ValueError("longer than any answer")
    message, filled = bytearray(size), 0
    while filled < size:
        read = stream.readinto(memoryview(message)[filled:])
        if not read:
            raise EOFError
        filled += read
    return message
