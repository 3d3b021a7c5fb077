"""The option that says what runs networks, for every command that runs some."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.text import Text

from hilum.console import ERR
from hilum.errors import unknown_name

if TYPE_CHECKING:
    from hilum.bundle import Asked

Runtime = Annotated[
    str, typer.Option(help="What runs networks: auto, onnx, openvino, openvino-bf16 (where its check passed) or torch.")
]


def asked_engine(name: str) -> "Asked":
    """The engine an option names.

    Raises:
        UsageError: there is none of that name.
    """
    from hilum.bundle import Asked

    for known in get_args(Asked):
        if name == known:
            engine: Asked = known
            return engine
    raise unknown_name("engine", name, get_args(Asked))


def say_engines(used: Mapping[str, str]) -> None:
    """Which network runs by what, on standard error; for those who asked for an engine by name."""
    ERR.print(Text("engines: " + ", ".join(f"{name} {engine}" for name, engine in used.items())), soft_wrap=True)
