"""Measure everything: each benchmark in a process of its own, one after another, then one page of all of them.

    python benchmarks/run.py [--quick] [--only NAME ...] [--root DATA]
    python benchmarks/run.py --release [--root DATA]
    python benchmarks/run.py --release --page

Results are JSON files, one a benchmark, in `benchmarks/results`, with the page `speed.md` and its figure beside them;
with --release they are kept in `docs/benchmarks`, and the page is docs/explanation/speed.md. --page makes the page of
the results there are and measures nothing. --quick takes fewer films and rounds, which its page says. A benchmark that
fails, or takes longer than it may, is a row that says so. Exit status 1 where one failed; a goal missed is no failure.

--root names a folder of data sets; with it, films are real ones where a benchmark can use them. All of it takes about
50 minutes on two idle cores, --quick about 10. The first time, an environment with TensorFlow is made (2 GB).
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from measuring import Result, Row
from speed_page import write_page

from hilum.files import write_json

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
LONGEST_S, LONGEST_QUICK_S = 3600, 900


def no_gpu() -> str | None:
    """Why a benchmark that needs a GPU is not run."""
    return None if shutil.which("nvidia-smi") else "no GPU at hand; with one: python benchmarks/gpu.py"


@dataclass(frozen=True)
class Benchmark:
    """A script, and how it is called.

    Attributes:
        name: of the script, without its suffix.
        goal: what to say is missing where it gives no rows of its own, and against whom.
        least: the ratio wanted there.
        full: arguments without --quick.
        rooted: arguments with --root, `{root}` standing for the folder.
        lacking: says why it is not run here.
    """

    name: str
    goal: tuple[str, str] = ("", "")
    least: float | None = None
    full: tuple[str, ...] = ()
    rooted: tuple[str, ...] = ()
    lacking: Callable[[], str | None] = field(default=lambda: None)

    @property
    def script(self) -> Path:
        return HERE / f"{self.name}.py"


BENCHMARKS = (
    Benchmark(
        "notebook_training",
        ("frozen VGG16 recipe, 20 epochs", "the notebook's way in Keras"),
        least=40.0,
        full=("--repeats", "1", "--views", "4", "20", "--precisions", "best", "--divisions", "5"),
        rooted=("--root", "{root}"),
    ),
    Benchmark(
        "batch_prediction",
        ("batch prediction, same network", "Keras predict"),
        least=1.3,
        rooted=("--films", "{root}/sandrofab"),
    ),
    Benchmark(
        "one_film",
        ("one film to probability and map, warm", "naive eager torch with hooked Grad-CAM"),
        least=10.0,
        rooted=("--films", "{root}/nih_subset"),
    ),
    Benchmark(
        "cold_start", ("`hilum predict one.png`, cold process", "importing torch and timm and predicting"), least=4.0
    ),
    Benchmark(
        "decode",
        ("decode + resize to 224", "cv2 colour decode + resize"),
        least=1.6,
        rooted=("--films", "{root}/nih_subset"),
    ),
    Benchmark("second_run", ("second epoch, second run", "decoding again"), least=10.0),
    Benchmark("index_growth", ("100,000 rows: index, split, describe", "1 GB"), least=1.0),
    Benchmark("chest_densenet", ("DenseNet121 for chest films", "TorchXRayVision's forward")),
    Benchmark(
        "reader", ("a film read, every stage", "150 ms"), least=1.0, rooted=("{root}/nih_subset", "--count", "22")
    ),
    Benchmark("engines", rooted=("{root}/nih_subset",)),
    Benchmark("heads"),
    Benchmark("finetuning"),
    Benchmark("ray_scaling"),
    Benchmark("growth", full=("--films", "1000", "10000", "--budget-s", "300")),
    Benchmark("roofline"),
    Benchmark("gpu", ("GPU: training and prediction", "timm's own scripts, same batch"), least=0.9, lacking=no_gpu),
)
"""All there are, in the order in which they are run and shown."""
NAMES = tuple(one.name for one in BENCHMARKS)


def call_of(one: Benchmark, options: argparse.Namespace, file: Path) -> list[str]:
    """How it is started."""
    more = [part.format(root=options.root) for part in one.rooted] if options.root else []
    pace = ["--quick"] if options.quick else list(one.full)
    return [sys.executable, str(one.script), *more, *pace, "--json", str(file)]


def measure(one: Benchmark, options: argparse.Namespace, file: Path) -> str | None:
    """Run one benchmark; what went wrong, else None."""
    with suppress(FileNotFoundError):
        file.unlink()
    longest = LONGEST_QUICK_S if options.quick else LONGEST_S
    try:
        done = subprocess.run(
            call_of(one, options, file), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=longest
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {longest} s and was stopped"
    if done.returncode:
        sys.stderr.write(done.stderr[-3000:])
        return f"it failed with status {done.returncode}: {last_line(done.stderr)}"
    return None if file.is_file() else "it wrote no result"


def last_line(text: str) -> str:
    """What a process said last, short enough for a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200].replace("|", "/") if lines else "it said nothing"


def placeholder(one: Benchmark, why: str, *, quick: bool) -> Result:
    """A result that says why there is none."""
    what, peer = one.goal
    return Result(
        one.name,
        one.name,
        (Row(what or f"benchmarks/{one.name}.py", peer or "-", goal=one.least, why=why),),
        quick=quick,
    )


def chosen(options: argparse.Namespace) -> Iterator[Benchmark]:
    """Those asked for that are there."""
    for one in BENCHMARKS:
        if options.only and one.name not in options.only:
            continue
        if one.script.is_file() or one.lacking():
            yield one
        else:
            print(f"{one.name}: benchmarks/{one.name}.py is not there", flush=True)


def run_all(options: argparse.Namespace) -> int:
    """Measure one after another; how many failed."""
    wanted = list(chosen(options))
    options.results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for number, one in enumerate(wanted, 1):
        print(f"\n[{number}/{len(wanted)}] {one.name}", flush=True)
        file, start = options.results / f"{one.name}.json", time.perf_counter()
        lacking = one.lacking()
        why = lacking or measure(one, options, file)
        if why:
            failed += not lacking
            write_json(file, placeholder(one, why, quick=options.quick).as_json())
        print(f"{one.name}: {why or 'done'}, {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def results_in(folder: Path) -> list[Result]:
    """Every result there is, in the order of `BENCHMARKS`; one that cannot be read is a row that says so."""
    found = []
    for one in BENCHMARKS:
        file = folder / f"{one.name}.json"
        if not file.is_file():
            continue
        try:
            found.append(Result.from_json(json.loads(file.read_text(encoding="utf-8")) | {"name": one.name}))
        except (KeyError, TypeError, ValueError) as error:
            found.append(placeholder(one, f"{file.name} is no result: {error!r}", quick=False))
    return found


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    made.add_argument("--quick", action="store_true", help="fewer films and rounds")
    made.add_argument("--root", type=Path, help="folder of data sets, for real films")
    made.add_argument("--page", action="store_true", help="only make the page of the results there are")
    made.add_argument("--release", action="store_true", help="keep results and page in docs")
    made.add_argument("--results", type=Path, help="folder for results; default benchmarks/results")
    options = made.parse_args(arguments)
    if options.release and options.quick:
        made.error("what is released is measured in full: leave --quick out")
    options.results = (options.results or (DOCS / "benchmarks" if options.release else HERE / "results")).absolute()
    return options


def main() -> None:
    options = asked()
    failed = 0 if options.page else run_all(options)
    page = DOCS / "explanation" / "speed.md" if options.release else options.results / "speed.md"
    picture = DOCS / "images" / "speed.svg" if options.release else options.results / "speed.svg"
    write_page(results_in(options.results), page, picture)
    print(f"\n{page}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
