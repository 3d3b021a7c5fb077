"""Published sets that are folders of single-diagnosis films: the walk they share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hilum.sources.tables import films_under, not_laid_out


@dataclass(frozen=True)
class ClassFilm:
    """A film, the class folder it lies in, and its place below the data set's folder."""

    path: Path
    folder: str
    place: Path


def class_films(name: str, root: Path, top: Path, folders: Mapping[str, object]) -> Iterator[ClassFilm]:
    """Films of the class folders `folders` (their names) directly below `top`, in the order given.

    Raises:
        DataError: none of the folders is there.
    """
    present = [folder for folder in folders if (top / folder).is_dir()]
    if not present:
        raise not_laid_out(name, root, f"folder {' or '.join(folders)}")
    for folder in present:
        for path in films_under(top / folder):
            yield ClassFilm(path=path, folder=folder, place=path.relative_to(root))
