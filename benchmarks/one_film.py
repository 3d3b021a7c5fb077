"""One film to its probability and its map, everything loaded: a notebook's way in torch against hilum's.

    python benchmarks/one_film.py [--films FOLDER] [--count 16] [--rounds 20]

The notebook's way: PIL opens the file, makes colour of it and resizes it, timm's network runs layer by layer, hooks
keep the last map and its gradients for Grad-CAM, which OpenCV enlarges to the film's size. hilum's: `read_film`, the
bundle's engine, the class activation map in closed form. EfficientNet-Lite0 with the ImageNet weights that a package
carries and the same head on both sides; files are 1.5-megapixel JPEGs. Goal: 10 times, and the same answer but for the
way of resizing.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Result, Row, Timings, interleaved, parser, use_threads

NAIVE = "notebook: eager, hooked Grad-CAM"
SIZE = (1096, 1368)


class Notebook:
    """What a notebook does, one film at a time."""

    def __init__(self, bundle: Any) -> None:
        import timm

        body = {
            name.removeprefix("backbone.body."): value
            for name, value in bundle.network.state_dict().items()
            if name.startswith("backbone.body.")
        }
        head = bundle.network.head[-1].state_dict()
        self.network = timm.create_model(bundle.recipe.network.backbone, num_classes=len(bundle.classes))
        self.network.load_state_dict(body | {f"classifier.{name}": value for name, value in head.items()})
        self.network.eval()
        self.side, self.mean, self.std = bundle.preprocess.size_px, bundle.preprocess.mean[0], bundle.preprocess.std[0]
        self.kept: dict[str, Any] = {}
        self.network.bn2.register_forward_hook(self.keep)

    def keep(self, _module: Any, _given: Any, made: Any) -> None:
        """The map, and what comes back to it."""
        self.kept["map"] = made
        made.register_hook(lambda gradient: self.kept.update(gradient=gradient))

    def __call__(self, path: Path) -> tuple[float, Any]:
        """Probability of the first class, and its Grad-CAM at the film's size."""
        import cv2
        import numpy as np
        import torch
        from PIL import Image

        picture = Image.open(path).convert("RGB")
        values = np.asarray(picture.resize((self.side, self.side)), np.float32) / 255
        film = torch.from_numpy((values - self.mean) / self.std).permute(2, 0, 1)[None]
        logits = self.network(film)
        self.network.zero_grad()
        logits[0, 0].backward()
        weights = self.kept["gradient"].mean((2, 3), keepdim=True)
        raw = torch.relu((weights * self.kept["map"]).sum(1))[0].detach().numpy()
        shown = cv2.resize(raw / max(float(raw.max()), 1e-12), picture.size)
        return float(logits.detach().softmax(1)[0, 0]), shown


def by_hilum(bundle: Any) -> Callable[[Path], tuple[float, Any]]:
    """As `hilum.reader` does it, without gate and lungs."""
    from hilum.cache import read_for
    from hilum.explain.frames import on_film
    from hilum.explain.judging import shown_map

    def read(path: Path) -> tuple[float, Any]:
        film = read_for(bundle.preprocess, path)
        if isinstance(film, str):
            raise SystemExit(film)
        told = bundle.answers(bundle.preprocess.frame(film.pixels))
        shown, _ = shown_map(bundle.evidence_of(told, 0).signed)
        size = (film.facts.height, film.facts.width)
        return float(bundle.probabilities(told.logits)[0, 0]), None if shown is None else on_film(
            bundle.preprocess, shown, size
        )[0]

    return read


def parts_of(bundle: Any, paths: list[Path]) -> dict[str, Callable[[], object]]:
    """Hilum's way in its three parts."""
    from hilum.cache import read_for

    frames = []
    for path in paths:
        film = read_for(bundle.preprocess, path)
        if not isinstance(film, str):
            frames.append(bundle.preprocess.frame(film.pixels))
    told = [bundle.answers(frame) for frame in frames]
    return {
        "reading": lambda: [bundle.preprocess.frame(read_for(bundle.preprocess, path).pixels) for path in paths],
        "network": lambda: [bundle.answers(frame) for frame in frames],
        "map": lambda: [bundle.evidence_of(one, 0) for one in told],
    }


def over(read: Callable[[Path], object], paths: list[Path]) -> Callable[[], None]:
    """Read them one after another."""

    def all_of_them() -> None:
        for path in paths:
            read(path)

    return all_of_them


def compared(ways: dict[str, Callable[[Path], tuple[float, Any]]], paths: list[Path]) -> str:
    """How far each way's probabilities are from the notebook's, and how alike the maps."""
    import numpy as np

    said = {name: [way(path) for path in paths] for name, way in ways.items()}
    apart, alike = 0.0, []
    for name, of_films in said.items():
        if name == NAIVE or "bfloat16" in name:
            continue
        for (p, mine), (q, theirs) in zip(of_films, said[NAIVE], strict=True):
            apart = max(apart, abs(p - q))
            if mine is not None and theirs.any():
                alike.append(float(np.corrcoef(mine[::8, ::8].ravel(), theirs[::8, ::8].ravel())[0, 1]))
    correlation = f"maps correlate with {np.median(alike):.2f} in the median" if alike else "no map to compare"
    return f"probabilities differ by {apart:.2g} at most, as films are resized otherwise; {correlation}"


def main() -> None:
    options = asked()
    use_threads(options.threads)
    import torch
    from films import grey_films, written

    from networks import LITE0, engines_of, framed, made_bundle, scratch

    torch.set_num_threads(options.threads)
    films = grey_films(options.films, options.count, height=SIZE[0], width=SIZE[1])
    with scratch() as work:
        paths = written(films, work / "films", ".jpg")
        bundle = made_bundle(LITE0, framed(films), work / "bundle")
        ways: dict[str, Callable[[Path], tuple[float, Any]]] = {NAIVE: Notebook(bundle)}
        answering = {one.name: one.bundle for one in engines_of(work / "bundle")}
        ways |= {name: by_hilum(bundle) for name, bundle in answering.items()}
        notes = compared(ways, paths)
        timings = interleaved({name: over(way, paths) for name, way in ways.items()}, rounds=options.rounds)
        best = quickest(timings)
        parts = interleaved(parts_of(answering[best], paths), rounds=options.rounds)
    scale = 1000 / len(paths)
    row = Row.of(
        "one film to probability and map, warm",
        "naive eager torch with hooked Grad-CAM",
        timings,
        ours=best,
        theirs=NAIVE,
        unit="ms a film",
        scale=scale,
        goal=10,
        why=reason(timings, best, parts, scale),
        notes=f"{best}; {notes}",
    )
    table = timings.table(f"One film, {len(paths)} of them", against=NAIVE, unit="ms a film", scale=scale)
    Result.of("one_film", str(__doc__), [row], options, tables=[table]).deliver(options)


def quickest(timings: Timings) -> str:
    """Of hilum's engines in float32."""
    ours = [name for name in timings.rounds if name != NAIVE and "bfloat16" not in name]
    return max(ours, key=lambda name: timings.ratio(NAIVE, name).median)


def reason(timings: Timings, best: str, parts: Timings, scale: float) -> str:
    """What was measured that keeps the ratio down."""
    told = ", ".join(f"{part} {scale * statistics.median(parts.seconds(part)):.1f}" for part in parts.rounds)
    wall = timings.ratio(NAIVE, best, "wall")
    theirs = scale * statistics.median(timings.seconds(NAIVE))
    return f"of hilum's milliseconds a film: {told}; the notebook's way takes {theirs:.0f}; {wall} by the wall clock"


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--films", type=Path, help="folder of films; drawn ones without it")
    made.add_paced("count", "films", full=16, quick=4)
    made.add_paced("rounds", "rounds", full=20, quick=3)
    return made.parse_args()


if __name__ == "__main__":
    main()
