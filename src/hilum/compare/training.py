"""Train what a comparison is made of, one run after another."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from hilum.compare.planning import Variant
from hilum.errors import HilumError
from hilum.index import Index
from hilum.parallel import Progress
from hilum.run import Run, Watch, train_run, unwatched

RUNS = "runs"


def train_variants(
    variants: Sequence[Variant],
    root: Path | None,
    out: Path,
    *,
    given: Index | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> list[Run]:
    """Train each variant in `out/runs/NAME`, or go on where it was interrupted; finished runs are left as they are.

    Args:
        variants: from `plan_variants`.
        root: folder the sources lie in; None with `given`.
        out: the comparison's folder.
        given: an index every recipe selects from.
        processes: how many decode at once.
        watch: told of every stage, with the run's number before it.

    Raises:
        HilumError: of the first run that fails, with its name; the runs before it stay.
    """
    runs = []
    for number, variant in enumerate(variants, 1):

        def numbered(stage: str, number: int = number) -> AbstractContextManager[Progress]:
            return watch(f"{number}/{len(variants)} {stage}")

        try:
            folder = out / RUNS / variant.name
            runs.append(train_run(variant.text, root, folder, given=given, processes=processes, watch=numbered))
        except HilumError as error:
            raise type(error)(f"run {variant.name}: {error}") from error
    return runs
