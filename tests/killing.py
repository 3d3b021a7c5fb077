"""Real processes of the command that are killed without a warning, and what they leave behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SCRIPT = """\
import contextlib, sys, time
import hilum.console as console
watched, pause = console.watch, float(sys.argv.pop(1))

@contextlib.contextmanager
def slowly(stage):
    with watched(stage) as report:
        def told(done, total):
            time.sleep(pause)
            report(done, total)
        yield told

console.watch = slowly
import hilum.checks, hilum.cli.films
from hilum.cli import app, main
from hilum.cli.cache import cache
hilum.cli.films.FILMS_A_PART, hilum.checks.UNSAVED = 4, 4
if not any(one.callback is cache for one in app.registered_commands):
    app.command()(cache)
main()
"""
"""The command with small parts, and a pause after every film in which it can be killed."""

PAUSE_S = 0.1
PATIENCE_S = 300.0


def finish(words: list[str], cache: Path) -> tuple[int, str]:
    """Run a command to its end; status and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "0", *words],
        env={**os.environ, "HILUM_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


def kill(words: list[str], cache: Path, *, when: Callable[[], bool], after_s: float = 0.0) -> bool:
    """Begin a command and kill it `after_s` seconds after `when`; whether it was still at work.

    The processes it had started must end by themselves.
    """
    begun = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(PAUSE_S), *words],
        env={**os.environ, "HILUM_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: when() or begun.poll() is not None)
        time.sleep(after_s)
        at_work, others = begun.poll() is None, _descendants(begun.pid)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    wait_for(lambda: not any(map(_alive, others)))
    return at_work


def wait_for(wanted: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not wanted():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.01)


def contents(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Every file below a folder and its SHA-256, but for those of some names."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name not in but)
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have, where the system tells."""
    children = [int(one) for file in Path(f"/proc/{pid}/task").glob("*/children") for one in file.read_text().split()]
    return [*children, *(one for child in children for one in _descendants(child))]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
