"""TorchXRayVision's DenseNet121 against hilum's engines on the same weights, films a second.

    python benchmarks/chest_densenet.py [--films FOLDER] [--count 16] [--rounds 10]

Its own class, `torchxrayvision.models.DenseNet`, runs as its examples do: torch, layer by layer, a batch at a time. It
gets films as floats from -1024 to 1024; hilum gets frames of whole numbers and scales them itself. Weights are random
and the same on both sides, so nothing is downloaded and answers can be compared; logits are what the class gives.
"""

import argparse
from pathlib import Path
from typing import Any

from measuring import Result, Row, Table, interleaved, parser, use_threads

NAME = "xrv:densenet121-res224-all"
THEIRS = "TorchXRayVision"
BATCH = 16


def their_network(bundle: Any) -> Any:
    """TorchXRayVision's own class with the bundle's weights."""
    import torchxrayvision as xrv

    state = bundle.network.state_dict()
    named = {name.replace("backbone.body.", "").replace("head.0.", "classifier."): told for name, told in state.items()}
    network = xrv.models.DenseNet(num_classes=len(bundle.classes))
    network.load_state_dict(named)
    return network.eval()


def main() -> None:
    options = asked()
    use_threads(options.threads)
    import numpy as np
    import torch
    from films import grey_films

    from networks import engines_of, farthest, framed, made_bundle, scratch

    torch.set_num_threads(options.threads)
    films = grey_films(options.films, options.count)
    with scratch() as work:
        bundle = made_bundle(NAME, framed(films), work / "bundle")
        frames = framed(films)(bundle.preprocess)
        given = torch.from_numpy(bundle.preprocess.normalise(frames))
        network = their_network(bundle)

        def theirs() -> Any:
            with torch.inference_mode():
                return np.concatenate([network(part).numpy() for part in given.split(BATCH)])

        expected = bundle.probabilities(theirs())
        answering = {one.name: one for one in engines_of(work / "bundle")}
        apart = {name: farthest(one.probabilities(frames), expected) for name, one in answering.items()}
        ways: dict[str, Any] = {THEIRS: theirs}
        ways |= {name: lambda one=one: one.probabilities(frames) for name, one in answering.items()}
        timings = interleaved(ways, rounds=options.rounds)
    scale = 1000 / len(films)
    rows = [
        Row.of(
            f"DenseNet121 for chest films, {name}",
            "TorchXRayVision's forward",
            timings,
            ours=name,
            theirs=THEIRS,
            unit="ms a film",
            scale=scale,
            notes=f"probabilities differ by {apart[name]:.1e} at most",
        )
        for name in answering
        if not name.startswith("torch")
    ]
    table = timings.table(f"DenseNet121, {len(films)} films", against=THEIRS, unit="ms a film", scale=scale)
    cells = tuple((*line, f"{1000 / float(line[2].split()[0].replace(',', '')):.1f}") for line in table.cells)
    tables = [Table(table.title, (*table.columns, "films a second"), cells)]
    Result.of("chest_densenet", str(__doc__), rows, options, tables=tables).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--films", type=Path, help="folder of films; drawn ones without it")
    made.add_paced("count", "films", full=16, quick=4)
    made.add_paced("rounds", "rounds", full=10, quick=2)
    return made.parse_args()


if __name__ == "__main__":
    main()
