"""Films with their lungs hidden: what is hidden, and the masks that say so.

What is hidden is the box around both lungs, a little wider than it; from a bundle that sees no more than that box, the
convex hull of each lung (`hulls_of`). Hiding no more than what was drawn would not do: a
consolidated base is often left out of a drawn lung and would stay visible, and the outline of a hole is the outline of
a lung. On 129 simulated films whose disease alone told the label a probe still had AUROC .71 [.60, .80] with the drawn
lungs hidden, and .58 [.47, .68] with the box. The price is that a shortcut between the lungs is hidden too.

References:
    Sourget et al. 2024, arXiv:2412.04030, who hide lungs both ways.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.errors import DataError
from hilum.files import cache_dir, digest_of, written_aside
from hilum.index import Index
from hilum.lungs import drawn_films, tell_sides, with_masks
from hilum.parallel import Spread, Watch
from hilum.pixels import read_film
from hilum.preprocess import HALF, Mask
from hilum.selection import TARGET

WIDER = 0.03
"""Of a film's height and width, on each side."""
CONTRACT = f"2: box of both lungs, {WIDER} wider, never the whole film"
"""Changes whenever the same lungs give another box. Part of cache keys."""


def films_with_lungs(
    films: pd.DataFrame, root: Path, watch: Watch, *, processes: int | None = None, spread: Spread | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The films on which lungs can be drawn, `lung_mask` naming them, and how many others there are of each class.

    Lungs are drawn by the bundle that comes with hilum on every film alike: masks that a source gives would tell it.

    Args:
        films: index rows with a target.
        root: folder their paths are relative to.
        watch: told of long work.
        processes: films decoded at once; default one a core.
        spread: as `hilum.lungs.made_masks` takes it.

    Raises:
        DataError: on no film can a lung be drawn, or one is not as it was indexed.
    """
    table = films.assign(left_out=pd.Series(pd.NA, films.index, "string"))
    with watch("draw lungs") as progress:
        drawn = drawn_films(Index(table=table, root=root), processes=processes, progress=progress, spread=spread)
    if drawn.films.empty:
        raise DataError("lungs can be drawn on none of the films")
    undrawn = drawn.left_out[TARGET].value_counts()
    return drawn.films, {str(name): int(n) for name, n in undrawn.items()}


def with_hidden(films: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The films with `lung_mask` naming what is to be hidden in place of the lungs."""
    place = cache_dir() / "lungless" / digest_of(CONTRACT)[:16]
    masks = {}
    for sha256, mask in zip(films["sha256"], films["lung_mask"], strict=True):
        drawn = root / mask
        masks[sha256] = place / drawn.parent.name / f"{sha256}.png"
        if not masks[sha256].is_file():
            _write(hidden_of(read_film(drawn).pixels >= HALF), masks[sha256])
    return with_masks(Index(table=films, root=root), masks).table


def hidden_of(lungs: Mask) -> Mask:
    """(H, W) lungs -> (H, W) what is hidden; of a film that is all lungs the outermost pixels stay."""
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    down, across = (round(WIDER * side) for side in lungs.shape)
    hidden = np.zeros_like(lungs)
    hidden[max(0, rows[0] - down) : rows[-1] + 1 + down, max(0, columns[0] - across) : columns[-1] + 1 + across] = True
    if hidden.all():
        hidden[[0, -1]] = hidden[:, [0, -1]] = False
    return hidden


def hulls_of(lungs: Mask) -> Mask:
    """(H, W) lungs -> the convex hull of each, a little wider: what is hidden from who sees no more than their box.

    A box would hide all that is seen. A hull hides what was left out of a drawn lung along its edge, and its outline
    tells less than the lung's own; some of a lung's shape it does tell.
    """
    sides = tell_sides(lungs.astype(np.float32), HALF)
    hulls = np.zeros(lungs.shape, np.uint8)
    for side in (sides.right, sides.left):
        edges, _ = cv2.findContours((side >= HALF).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if edges:
            cv2.fillConvexPoly(hulls, cv2.convexHull(np.concatenate(edges)), 1)
    away = cv2.distanceTransform(1 - hulls, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    hidden: Mask = away <= WIDER * min(lungs.shape)
    return hidden


def blanked(pixels: NDArray[np.float32], hidden: Mask) -> NDArray[np.float32]:
    """The film (H, W) with what is hidden filled by the mean of the rest."""
    if hidden.all():
        return np.full_like(pixels, pixels.mean())
    filled: NDArray[np.float32] = np.where(hidden, pixels[~hidden].mean(), pixels).astype(np.float32)
    return filled


def _write(mask: Mask, path: Path) -> None:
    done, png = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    if not done:
        raise DataError(f"the mask {path.name} cannot be written")
    with written_aside(path) as aside:
        aside.write_bytes(png.tobytes())
