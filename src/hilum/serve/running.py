"""Run the application: load once, listen, say where, finish what is being read when told to stop."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from hilum.errors import UsageError
from hilum.serve import logs
from hilum.serve.schema import ServedBundle
from hilum.serve.settings import Settings, is_loopback, read_token

if TYPE_CHECKING:
    from hilum.bundle import Asked

MOST_CONNECTIONS = 256
GRACE_S = 30


def application(bundles: Sequence[str], settings: Settings, *, engine: "Asked" = "auto") -> FastAPI:
    """The application with the classifiers named, loaded.

    Args:
        bundles: folders or names, as `hilum.reader.Reader` takes them; none for its default.
        settings: how much is allowed.
        engine: runs the networks, as `hilum.reader.Reader` takes it.

    Raises:
        BundleError: a bundle is damaged.
        UsageError: a bundle cannot be used for this.
    """
    from hilum.bundle import bundle_folder
    from hilum.reader import Reader
    from hilum.reader.chain import DEFAULT
    from hilum.serve.app import create_app
    from hilum.serve.reading import WithReader

    named = tuple(bundles) or (DEFAULT,)
    reader = Reader(named, engine=engine)
    served = [
        ServedBundle(
            name=one.name,
            title=one.title,
            digest=one.digest,
            classes=list(one.classes),
            headline=one.headline,
            verdict=one.verdict,
        )
        for one in reader.bundles
    ]
    cards = {one.name: Path(bundle_folder(folder)) for one, folder in zip(served, named, strict=True)}
    return create_app(WithReader(reader), served, settings, cards=cards)


def run(app: FastAPI, host: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; films being read are finished first, for `GRACE_S` seconds at most.

    Args:
        app: from `create_app`.
        host: the address to listen at.
        port: the port; 0 takes a free one.
        told: is told the address when the server listens.

    Raises:
        UsageError: it cannot listen there.
    """
    logs.configure()
    # A core file would hold the films that were being read.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with _listening(host, port) as listener, _stopping_quietly():
        told(_address(host, listener.getsockname()[1]))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )
        uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        # Python adds the address to the system's words; a name that cannot be looked up has a negative number.
        said = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__
        raise UsageError(f"cannot listen at {host}, port {port} ({said}); choose another --port or --host") from None
    with listener:
        yield listener


@contextlib.contextmanager
def _stopping_quietly() -> Iterator[None]:
    """Uvicorn raises SIGTERM again when it is done, which would make an ordered stop look like a kill."""

    def done(_signal: int, _frame: FrameType | None) -> None:
        pass

    before = signal.signal(signal.SIGTERM, done)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def notices(host: str, settings: Settings) -> list[str]:
    """What the operator should hear before the server listens."""
    said = []
    if not is_loopback(host):
        said.append(
            f"WARNING: {host} can be reached from other machines, and films are sent without encryption; put a proxy "
            "with TLS before it"
        )
        if settings.token is None:
            said.append("WARNING: no token is asked for, so whoever reaches this address may read films and results")
        if not settings.hosts:
            said.append("WARNING: other machines are answered only under names given with --allow-host")
    if settings.keep:
        said.append(f"results are kept in {settings.keep}, with a picture of each film; everybody let in may see them")
    return said


def hosts_of(host: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """The names to answer to: those allowed, and the address listened at unless it stands for all."""
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return tuple(allowed) if everywhere else (*allowed, host)


def token_of(file: Path | None) -> str | None:
    """The token of the file, else that of the variable HILUM_TOKEN, which the processes started later do not see.

    Raises:
        UsageError: the file cannot be read or holds nothing.
    """
    return read_token(file, os.environ.pop("HILUM_TOKEN", None))
