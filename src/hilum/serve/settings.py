"""How much a server gives to whom: every limit in one place."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_TOKEN = 16
"""Characters: what is shorter can be guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingLimits:
    """What decoding one film may cost.

    Attributes:
        memory_mb: address space of the decoding process, about 330 of which it needs for itself. The largest film
            read, 50 million 16-bit samples in DICOM, takes 1180.
        cpu_s: seconds of one core.
        wall_s: seconds on the clock.
    """

    memory_mb: int = 2048
    cpu_s: int = 30
    wall_s: float = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server allows.

    Attributes:
        hosts: names besides those of this machine that a request's Host header may have.
        token: what a client must know; None lets everybody in.
        keep: folder results are kept in; None keeps nothing.
        most_mb: size of a request, in millions of bytes.
        most_films: films in a request.
        queue: requests that wait; one more is turned away.
        workers: films decoded and read at once.
        per_minute: requests a client may send in a minute, and at once.
        upload_s: seconds in which a request's body must have come.
        decoding: what decoding one film may cost.
    """

    hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    keep: Path | None = None
    most_mb: int = 64
    most_films: int = 16
    queue: int = 16
    workers: int = 1
    per_minute: int = 120
    upload_s: float = 60.0
    decoding: DecodingLimits = DecodingLimits()

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise UsageError(f"the token has {len(self.token)} characters; at least {SHORTEST_TOKEN} are needed")

    @property
    def places(self) -> int:
        """Requests taken in at once: those being read and those that wait."""
        return self.workers + self.queue

    @property
    def most_bytes(self) -> int:
        return self.most_mb * 1_000_000


def read_token(file: Path | None, environment: str | None) -> str | None:
    """The token a file holds, else that of the environment, without the blanks around it.

    Raises:
        UsageError: the file cannot be read or holds nothing.
    """
    if file is None:
        return (environment or "").strip() or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {file} cannot be read ({type(error).__name__})") from None
    if not token:
        raise UsageError(f"the token file {file} is empty; write a long random text into it")
    return token


def is_loopback(host: str) -> bool:
    """Whether an address or a name can be reached from this machine alone.

    >>> is_loopback("127.0.0.2"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
