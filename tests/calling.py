"""What calling the command in the process of a test gives."""

from collections.abc import Callable
from typing import NamedTuple

from hilum.cli import main


class Told(NamedTuple):
    """What a call left behind."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output without the line breaks the terminal's width put in."""
        return " ".join(self.out.split())


Call = Callable[..., Told]
"""Takes the words after `hilum`."""


def status_of_main() -> int:
    """The exit status of the command that `sys.argv` tells."""
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0
