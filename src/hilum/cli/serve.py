"""The command that answers over HTTP: serve."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hilum.cli.runtime import Runtime, asked_engine
from hilum.console import ERR
from hilum.errors import require
from hilum.process import settle
from hilum.records import DISCLAIMER

Named = Annotated[
    list[str] | None, typer.Option(help="A classifier's folder, or the name of one hilum comes with; repeatable.")
]
Keep = Annotated[Path | None, typer.Option(help="Folder results are kept in; else nothing is.", file_okay=False)]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the token clients must know; else that in HILUM_TOKEN.", dir_okay=False)
]
AllowHost = Annotated[list[str] | None, typer.Option(help="Name clients ask by, besides localhost; repeatable.")]


def serve(
    bundle: Named = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.", min=0, max=65535)] = 8600,
    keep: Keep = None,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    max_mb: Annotated[int, typer.Option(help="Size of a request, in millions of bytes.", min=1, max=1000)] = 64,
    queue: Annotated[int, typer.Option(help="Requests that may wait.", min=0, max=1000)] = 16,
    workers: Annotated[int, typer.Option(help="Films read at once.", min=1, max=64)] = 1,
    per_minute: Annotated[int, typer.Option(help="Requests a client may send in a minute.", min=1)] = 120,
    runtime: Runtime = "auto",
) -> None:
    """A web page and a REST API that read films. Nothing leaves this machine, nothing is kept unless asked for.

    Example: `hilum serve --port 8600`
    """
    settle(keep_memory=False)
    for module in ("fastapi", "uvicorn", "python_multipart"):
        require(module, extra="serve")
    from hilum.serve.running import application, hosts_of, notices, run, token_of
    from hilum.serve.settings import Settings

    settings = Settings(
        hosts=hosts_of(host, allow_host or ()),
        token=token_of(token_file),
        keep=keep,
        most_mb=max_mb,
        queue=queue,
        workers=workers,
        per_minute=per_minute,
    )
    app = application(bundle or (), settings, engine=asked_engine(runtime))
    for said in notices(host, settings):
        ERR.print(Text(said, style="bold red" if said.startswith("WARNING") else ""), soft_wrap=True)
    run(app, host, port, _listening)


def _listening(address: str) -> None:
    ERR.print(Text(f"hilum listens at {address}; stop it with Ctrl-C"), soft_wrap=True)
    ERR.print(Text(DISCLAIMER))
