"""Stages of `growth.py` that are no command of their own: the frame cache, and evaluating predictions.

python benchmarks/growth_parts.py frames|evaluate FOLDER
"""

import argparse
from pathlib import Path


def frames(folder: Path) -> None:
    """Decode every film of FOLDER/index.parquet as FOLDER/recipe.toml says."""
    from hilum.cache import FrameCache
    from hilum.index import Index
    from hilum.recipe import parse_recipe
    from hilum.selection import select_films

    recipe = parse_recipe((folder / "recipe.toml").read_text(encoding="utf-8"))
    chosen = select_films(Index.load(folder / "index.parquet"), recipe)
    FrameCache(recipe.preprocess).fill(chosen.films, chosen.root)


def evaluated(folder: Path) -> None:
    """Every figure of the predictions of FOLDER/run, with 1,000 resamples."""
    from hilum.evaluate import evaluate, save_evaluation
    from hilum.run import Run

    run = Run(folder / "run")
    evaluation = evaluate(
        run.predictions,
        run.index.films,
        classes=run.recipe.class_names,
        operating_points=(),
        temperature=run.evaluation.temperature,
        index_digest=run.evaluation.index_digest,
        bundle_digest=None,
    )
    save_evaluation(evaluation, folder / "evaluation.json")


PARTS = {"frames": frames, "evaluate": evaluated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    from hilum.process import settle

    settle()
    PARTS[options.part](options.folder)


if __name__ == "__main__":
    main()
