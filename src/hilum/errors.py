"""What can go wrong, said in one sentence a user can act on.

Every error hilum raises on purpose is a `HilumError`: what happened, which value or file, what to do about it. The
command line prints the sentence and exits with the error's `exit_status`; nothing else of the traceback is shown.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class HilumError(Exception):
    """Base of every error hilum raises on purpose; its text is written for the user."""

    exit_status = 1


class UsageError(HilumError):
    """The request itself is wrong: an unknown name, a misspelt key, two options that exclude each other."""

    exit_status = 2


class DataError(HilumError):
    """The data cannot carry what was asked of them: a missing file, one class only, a fold without positives."""


class UnreadableFilm(HilumError):
    """One film cannot be read or must not be used. The run goes on; the film is listed with this reason."""


class BundleError(HilumError):
    """A bundle is not what it claims to be: tampered, truncated, foreign, or of another format number."""


class MissingExtra(HilumError):
    """An optional dependency is not installed; the text names the extra that brings it."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A `UsageError` for `name`, with the nearest known names.

    >>> str(unknown_name("source", "sandrofap", ["sandrofab", "kermany"]))
    "unknown source 'sandrofap'; did you mean 'sandrofab'? Known: kermany, sandrofab."
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"; did you mean '{near}'?" if near else "."
    return UsageError(f"unknown {kind} '{name}'{hint} Known: {', '.join(names) or 'none'}.")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, upper and lower case alike; None where none is.

    >>> nearest("COVID-19", ["covid19", "normal"])
    'covid19'
    """
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Raises:
        MissingExtra: `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingExtra(
            f"this needs the package '{missing}', which is not installed; run: pip install 'hilum[{extra}]'"
        ) from error
