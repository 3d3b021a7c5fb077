"""`hilum serve` under load, and killed under load: the figures of docs/how-to/serve.md.

    python benchmarks/serve_load.py [--seconds 300] [--clients 32]

Starts a server on a free port of this machine, sends it simulated films (PNG, 16-bit PNG, JPEG, DICOM) and some that
are none, kills its decoding process and then the server itself while films are on their way, and starts it again.
Prints statuses, times and memory. Exit status 1 where any of these does not hold:

* no answer has a status of 500 or above, no connection is lost but those of the server killed;
* films are read, bad ones are refused for what they are, and a request turned away (429) is told when to come back;
* memory of all the server's processes grows by no more than --growth-mb from the second quarter to the last;
* a killed decoding process costs the film it had, and no other;
* after the server is killed no process, no file and no hold on the port is left, and it is ready again in --ready-s.
"""

import argparse
import http.client
import io
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

COMMAND = "from hilum.cli import main; main()"
BOUNDARY = "between-films"
BAD_SHARE = 0.25
LONGEST_PAUSE_S = 5.0
"""Clients come back sooner than they are told to, or a short run would be spent waiting."""
TOO_MANY = 429
LOST = "crashed"
"""The kind of refusal that a film gets whose decoding process died."""


@dataclass(frozen=True)
class Sent:
    """A film to send, and the kind of refusal that must come back; None where it is read."""

    name: str
    data: bytes
    refused: str | None = None


def good_films() -> list[Sent]:
    """Simulated films that come with hilum, in every format."""
    import cv2
    import numpy as np

    static = resources.files("hilum") / "serve" / "page" / "static"
    films = []
    for number in (1, 2):
        data = (static / f"simulated-{number}.png").read_bytes()
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        deep = grey.astype(np.uint16) * 257
        films += [
            Sent("PNG", data),
            Sent("16-bit PNG", cv2.imencode(".png", deep)[1].tobytes()),
            Sent("JPEG", cv2.imencode(".jpg", cv2.resize(grey, (2048, 2048)))[1].tobytes()),
            Sent("DICOM", _dicom(deep >> 4)),
        ]
    return films


def bad_films() -> list[Sent]:
    """What must be refused, and as what."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    whole = _dicom(rng.integers(0, 4096, (600, 600), dtype=np.uint16))
    noise = rng.integers(0, 256, (400, 400), dtype=np.uint8)
    return [
        Sent("nothing", b"", "empty"),
        Sent("cut DICOM", whole[:-1000], "truncated"),
        Sent("noise", cv2.imencode(".png", noise)[1].tobytes(), "not-a-chest-film"),
    ]


def _dicom(stored: "np.ndarray") -> bytes:  # type: ignore[type-arg,name-defined]  # noqa: F821
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3.4"
    data.Modality, data.BodyPartExamined, data.ViewPosition = "DX", "CHEST", "PA"
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = stored.tobytes()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class Server:
    """`hilum serve` in a process of its own, with folders of its own."""

    def __init__(self, work: Path, port: int) -> None:
        self.work, self.port = work, port
        self.temporary = work / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.log = work / "log"
        self.process = self.started()

    def started(self) -> "subprocess.Popen[bytes]":
        """A new process on the same port."""
        options = ("--port", self.port, "--per-minute", 1_000_000)
        folders = {"TMPDIR": self.temporary, "MPLCONFIGDIR": self.work / "plots", "HILUM_CACHE": self.work / "cache"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", COMMAND, "serve", *map(str, options)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **{name: str(folder) for name, folder in folders.items()}},
                cwd=self.work,
            )

    def ready_s(self, most_s: float) -> float:
        """Wait until a film can be sent; how long that took.

        Raises:
            TimeoutError: it took too long.
        """
        start = time.monotonic()
        while time.monotonic() - start < most_s and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if ask(self.port, "GET", "/readyz", timeout=5).status == http.HTTPStatus.OK:
                    return time.monotonic() - start
            time.sleep(0.1)
        raise TimeoutError(f"the server was not ready in {most_s:g} s")

    def restarts(self) -> int:
        """How often a decoding process was replaced, by the server's own account."""
        text = ask(self.port, "GET", "/metrics").body.decode()
        return int(float(text.partition("\nhilum_decoder_restarts ")[2].split()[0]))


def descendants(pid: int) -> list[int]:
    """Processes below one, by /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, above = [], {pid}
    while above:
        above = {child for child, parent in parents.items() if parent in above}
        found += sorted(above)
    return found


def memory_mb(pids: list[int]) -> float:
    """Resident memory of processes; what they share counts for each."""
    total = 0
    for pid in pids:
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
    return total / 1024


@dataclass(frozen=True)
class Answered:
    """A status, what was said with it, and after how many seconds to come back."""

    status: int
    body: bytes
    retry_after: str | None


def ask(port: int, method: str, path: str, body: bytes | None = None, *, timeout: float = 120) -> Answered:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if body is not None else {}
        connection.request(method, path, body, form)
        answer = connection.getresponse()
        return Answered(answer.status, answer.read(), answer.getheader("Retry-After"))
    finally:
        connection.close()


def form_of(film: Sent) -> bytes:
    """A film as a browser sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="films"; filename="film"\r\n\r\n'
    return head.encode() + film.data + f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass
class Tally:
    """What clients heard, and what should not have been."""

    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    lost_films: int = 0
    lost_connections: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    killing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, film: Sent, told: Answered, seconds: float) -> None:
        with self.lock:
            self.statuses[told.status] += 1
            if told.status == http.HTTPStatus.OK:
                self.seconds.append(seconds)
                self._read(film, json.loads(told.body)[0])
            elif told.status == TOO_MANY and not (told.retry_after or "").isdigit():
                self.wrong["429 without Retry-After"] += 1
            elif told.status not in (TOO_MANY, http.HTTPStatus.OK):
                self.wrong[f"status {told.status}"] += 1

    def _read(self, film: Sent, answer: dict[str, "dict[str, str] | str | None"]) -> None:
        refusal = answer["refusal"]
        kind = refusal["kind"] if isinstance(refusal, dict) else None
        self.outcomes[str(answer["outcome"])] += 1
        if kind == LOST:
            self.lost_films += 1
        elif kind != film.refused:
            self.wrong[f"{film.name} refused as {kind}" if kind else f"{film.name} not refused"] += 1

    def broken(self, error: Exception) -> None:
        with self.lock:
            self.lost_connections += 1
            if not self.killing.is_set():
                self.wrong[f"connection: {type(error).__name__}"] += 1


@contextmanager
def clients(count: int, port: int, tally: Tally, films: list[Sent], bad: list[Sent]) -> Iterator[None]:
    """So many clients send films until the block ends."""
    stop = threading.Event()

    def client(seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            film = rng.choice(bad if rng.random() < BAD_SHARE else films)
            start = time.monotonic()
            try:
                told = ask(port, "POST", f"/api/read?pictures={rng.randrange(2)}", form_of(film))
            except (OSError, http.client.HTTPException) as error:
                tally.broken(error)
                stop.wait(0.2)
                continue
            tally.answered(film, told, time.monotonic() - start)
            if told.status == TOO_MANY:
                stop.wait(rng.uniform(0.5, 1) * min(LONGEST_PAUSE_S, float(told.retry_after or 1)))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def watch_memory(server: Server, tally: Tally, seconds: float) -> None:
    """Note the memory of the server's processes twice a second."""
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        tally.memory.append((now, memory_mb([server.process.pid, *descendants(server.process.pid)])))
        time.sleep(0.5)


def growth_mb(memory: list[tuple[float, float]], seconds: float) -> tuple[float, float, float]:
    """Median memory of the second quarter of the time and of the last, and the most there was."""
    early = statistics.median(mb for at, mb in memory if seconds / 4 <= at < seconds / 2)
    late = statistics.median(mb for at, mb in memory if at >= 3 * seconds / 4)
    return early, late, max(mb for _, mb in memory)


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something holds before so many seconds have passed."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def kill_decoders(server: Server, tally: Tally, film: Sent) -> list[str]:
    """Kill the decoding processes under load, a few times; what went wrong."""
    before, killed = tally.lost_films, 0
    for pause_s in (0.1, 0.3, 0.7):
        time.sleep(pause_s)
        restarts = server.restarts()
        for pid in descendants(server.process.pid):
            os.kill(pid, signal.SIGKILL)
            killed += 1
        if not until(lambda restarts=restarts: server.restarts() > restarts, 60):  # type: ignore[misc]
            return ["a killed decoding process was not replaced"]
        if not until(lambda: ask(server.port, "POST", "/api/read", form_of(film)).status == http.HTTPStatus.OK, 120):
            return ["no film is read after decoding processes were killed"]
    lost = tally.lost_films - before
    print(f"{killed} decoding processes killed: {lost} films refused as {LOST}")
    return [f"{lost} films were lost with {killed} decoding processes"] if lost > killed else []


def kill_server(server: Server, tally: Tally, ready_s: float) -> list[str]:
    """Kill the server under load and start it again; what went wrong."""
    children = descendants(server.process.pid)
    tally.killing.set()
    server.process.kill()
    server.process.wait()
    wrong = []
    if not until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 60):
        wrong.append("processes outlive the server that was killed")
    left = [path.name for path in server.temporary.rglob("*")]
    if left:
        wrong.append(f"files are left behind: {left}")
    try:
        socket.create_server(("127.0.0.1", server.port)).close()
    except OSError:
        wrong.append(f"port {server.port} is held after the server was killed")
    server.process = server.started()
    print(f"server killed: ready again after {server.ready_s(ready_s):.1f} s")
    tally.killing.clear()
    return wrong


def stopped(server: Server) -> list[str]:
    """Stop the server in order; what went wrong."""
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(60)
    left = [path.name for path in server.temporary.rglob("*")]
    wrong = [f"stopped with status {status}"] if status else []
    wrong += [f"files are left behind: {left}"] if left else []
    return wrong + [line for line in server.log.read_text().splitlines() if '"error"' in line][:5]


def said(tally: Tally, seconds: float, most_mb: float) -> list[str]:
    """Print the figures; what was wrong with them."""
    early, late, most = growth_mb(tally.memory, seconds)
    times = sorted(tally.seconds)
    middle, high = (times[round(share * (len(times) - 1))] for share in (0.5, 0.99))
    print("statuses: " + ", ".join(f"{number} x {status}" for status, number in sorted(tally.statuses.items())))
    print("outcomes: " + ", ".join(f"{number} {outcome}" for outcome, number in tally.outcomes.most_common()))
    print(f"{len(times) / seconds:.1f} films/s; answered after: median {middle:.2f} s, 99 % {high:.2f} s")
    print(f"memory: {early:.0f} MB in the second quarter, {late:.0f} MB in the last, {most:.0f} MB at most")
    wrong = [f"{what} ({number} times)" for what, number in tally.wrong.items()]
    if late - early > most_mb:
        wrong.append(f"memory grew by {late - early:.0f} MB; at most {most_mb:g} MB are allowed")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--growth-mb", type=float, default=100)
    parser.add_argument("--ready-s", type=float, default=60)
    asked = parser.parse_args()
    films, bad = good_films(), bad_films()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as work:
        server = Server(Path(work), port)
        try:
            print(f"ready after {server.ready_s(asked.ready_s):.1f} s; load average {os.getloadavg()[0]:.1f}")
            tally, after = Tally(), Tally()
            with clients(asked.clients, port, tally, films, bad):
                watch_memory(server, tally, asked.seconds)
            wrong = said(tally, asked.seconds, asked.growth_mb)
            with clients(asked.clients, port, after, films, bad):
                time.sleep(2)
                wrong += kill_decoders(server, after, films[0])
                wrong += kill_server(server, after, asked.ready_s)
                read = len(after.seconds)
                if not until(lambda: len(after.seconds) > read, 60):
                    wrong.append("no film is read after the server was started again")
            wrong += [f"while killing: {what} ({number} times)" for what, number in after.wrong.items()]
            wrong += stopped(server)
        finally:
            server.process.kill()
            server.process.wait()
    for what in wrong:
        print(f"WRONG: {what}")
    print("all held" if not wrong else f"{len(wrong)} did not hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
