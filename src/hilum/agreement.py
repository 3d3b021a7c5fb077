"""Checking a bundle's engines on a person's own films, read as the bundle reads them.

The comparison itself is `hilum.bundle.check_engines`, which takes frames.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hilum.bundle import Bundle, SegmenterBundle, check_engines, find_bundle
from hilum.bundle.checking import load_eager
from hilum.engine import SCORING_BATCH, EngineRecord
from hilum.engine.trials import CheckedOn
from hilum.errors import UsageError
from hilum.files import digest_of, sha256_file
from hilum.index import Index
from hilum.lungs import segment_lungs
from hilum.parallel import Watch, unwatched
from hilum.predict import framed_inside, lungs_for, marked_of, views_read
from hilum.preprocess import Frame
from hilum.projection import ViewFilter, read_films
from hilum.records import View

MOST_FILMS = 1000
"""Of more, so many are taken, evenly over the list: their frames are held in memory."""


def check_films(
    path: Path,
    films: Sequence[Path] | Index,
    *,
    engines: Sequence[str] | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> EngineRecord:
    """Check a bundle's engines on films and write `engines.json` beside its manifest.

    Films that cannot be read, or that the bundle refuses to read, are left out.

    Args:
        path: of the bundle or its run.
        films: files, or an index, whose films that are not left out are taken; best those of a source that the bundle
            has not seen.
        engines: default those installed.
        processes: films decoded at once; default one a core.
        watch: told of the stages.

    Raises:
        BundleError: the bundle is not what it claims to be, or it has no valid export.
        DataError: no film is left.
        MissingExtra: torch or an engine is not installed.
        UsageError: the bundle reads films with masks that a source gives, or runs with torch only.
    """
    folder = find_bundle(path)
    paths = [films.path(one) for one in films.films["path"]] if isinstance(films, Index) else list(films)
    paths = paths[:: -(-len(paths) // MOST_FILMS) or 1]
    frames: list[Frame] = []
    used: list[Path] = []
    bundle = load_eager(folder)
    with watch("read films") as progress:
        for done, (film, frame) in enumerate(_frames(bundle, paths, processes), 1):
            if not isinstance(frame, str):
                frames.append(frame)
                used.append(film)
            progress(done, len(paths))
    side = bundle.preprocess.size_px
    stacked = np.stack(frames) if frames else np.zeros((0, side, side), bundle.preprocess.dtype)
    with watch("ask engines") as progress:
        return check_engines(folder, stacked, _checked_on(films, used), engines=engines, progress=progress)


def _checked_on(films: Sequence[Path] | Index, used: Sequence[Path]) -> CheckedOn:
    count = max(1, len(used))
    if isinstance(films, Index):
        sources = ", ".join(sorted(films.films["source"].astype(str).unique()))
        return CheckedOn(films=count, digest=films.digest, named=f"an index of {sources}"[:200])
    return CheckedOn(films=count, digest=digest_of(sorted(sha256_file(one) for one in used)), named="files")


def _frames(
    bundle: Bundle | SegmenterBundle, paths: Sequence[Path], processes: int | None
) -> Iterator[tuple[Path, Frame | str]]:
    """Each film as the bundle's network reads it, or why it does not."""
    if isinstance(bundle, Bundle) and bundle.preprocess.masked:
        return _inside_lungs(bundle, paths, processes)
    return _whole(bundle, paths, processes)


def _whole(
    bundle: Bundle | SegmenterBundle, paths: Sequence[Path], processes: int | None
) -> Iterator[tuple[Path, Frame | str]]:
    views = views_read(bundle.recipe.films) if isinstance(bundle, Bundle) else (View.FRONTAL,)
    stated = bundle.recipe.films.views if isinstance(bundle, Bundle) else views
    gate = ViewFilter() if views else None
    batches = read_films(
        paths, (bundle.preprocess,), at_once=SCORING_BATCH, processes=processes, stated=stated, gate=gate, views=views
    )
    for batch in batches:
        yield from ((path, read if isinstance(read, str) else read.frames[0]) for path, read in batch)


def _inside_lungs(bundle: Bundle, paths: Sequence[Path], processes: int | None) -> Iterator[tuple[Path, Frame | str]]:
    if bundle.preprocess.masks == "given":
        raise UsageError(
            f"{bundle.title}: it needs lung masks that a source gives (preprocess.lungs = "
            f"'{bundle.preprocess.lungs}'); give hilum.bundle.check_engines the frames of an index that names them"
        )
    drawn = segment_lungs(paths, bundle=lungs_for(bundle), gate=ViewFilter(), processes=processes)
    marked = (marked_of(one) for one in drawn)
    for path, framed in framed_inside(bundle.preprocess, marked, total=len(paths), processes=processes):
        yield path, framed if isinstance(framed, str) else framed.frame
