"""Bundles that come with hilum, as package data: `hilum/bundles/NAME`."""

from pathlib import Path

from hilum.bundle.format import MANIFEST, find_bundle
from hilum.errors import unknown_name

FOLDER = Path(__file__).parents[1] / "bundles"


def released_names() -> tuple[str, ...]:
    """Which bundles there are."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob(f"*/{MANIFEST}")))


def released(name: str) -> Path:
    """The folder of a bundle that comes with hilum.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in released_names():
        raise unknown_name("released bundle", name, released_names())
    return FOLDER / name


def bundle_folder(named: Path | str) -> Path:
    """The folder of a bundle: a path to it or its run, or the name of one that comes with hilum.

    Raises:
        BundleError: the path is no bundle.
        UsageError: there is neither such a path nor such a name.
    """
    path = Path(named)
    if path.exists() and (str(named) not in released_names() or (path / MANIFEST).is_file()):
        return find_bundle(path)
    return released(str(named))
