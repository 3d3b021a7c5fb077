"""The machinery of benchmarks/: turns, ratios, results, the page. Nothing is timed."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
HELPERS = {
    *("batch_keras", "cold_naive", "counting", "films", "measuring", "networks", "notebook_hilum", "notebook_keras"),
    *("pages", "peers", "speed_page", "watched"),
}
"""Files that are no commands, or run in an environment of their own."""
SCRIPTS = sorted(
    path.name
    for path in FOLDER.glob("*.py")
    if path.stem not in HELPERS and any(words in path.read_text() for words in ("ArgumentParser(", "parser(__doc__"))
)


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules that scripts share, imported as a script imports them, and gone again afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        names = ("measuring", "peers", "speed_page", "run")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(FOLDER)):
                del sys.modules[name]


def timings(bench: SimpleNamespace, **seconds: list[float]) -> Any:
    spent = bench.measuring.Spent
    return bench.measuring.Timings({way: [spent(10 * one, one) for one in rounds] for way, rounds in seconds.items()})


def result(bench: SimpleNamespace, *rows: Any, **told: Any) -> Any:
    return bench.measuring.Result("decode", "Decoding", rows, **told)


def row(bench: SimpleNamespace, median: float | None, goal: float | None, **told: Any) -> Any:
    ratio = None if median is None else bench.measuring.Ratio(median, median * 0.9, median * 1.1, 9)
    return bench.measuring.Row("decode | resize", "cv2", ratio=ratio, goal=goal, **told)


# --- measuring -------------------------------------------------------------------------------------------------------


def test_every_way_runs_once_a_round_and_each_round_begins_with_another(bench: SimpleNamespace) -> None:
    ran: list[str] = []
    ways = {name: lambda name=name: ran.append(name) for name in "abc"}
    found = bench.measuring.interleaved(ways, rounds=3, warm_up=1)
    assert "".join(ran) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(rounds) for name, rounds in found.rounds.items()} == {"a": 3, "b": 3, "c": 3}


def test_rounds_to_warm_up_are_not_kept(bench: SimpleNamespace) -> None:
    spent = bench.measuring.Spent
    told = iter([spent(9, 9), spent(1, 2), spent(3, 4)])
    found = bench.measuring.interleaved({"a": lambda: next(told)}, rounds=2, warm_up=1)
    assert found.seconds("a") == [2, 4]
    assert found.seconds("a", "wall") == [1, 3]


def test_time_of_a_process_that_was_started_counts(bench: SimpleNamespace) -> None:
    busy = "import time\nwhile time.process_time() < .3: pass"
    spent = bench.measuring.timed(lambda: subprocess.run([sys.executable, "-c", busy], check=True))
    assert spent.processor >= 0.3


def test_ratios_are_taken_round_by_round(bench: SimpleNamespace) -> None:
    """The ratio of medians would be 3: 30 over 10."""
    found = timings(bench, theirs=[10, 30, 90], ours=[10, 15, 9]).ratio("theirs", "ours")
    assert (found.median, found.rounds) == (2, 3)
    assert found.low == pytest.approx(1.2)
    assert found.high == pytest.approx(8.4)


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (2.0, True), (2.1, False), (None, None)])
def test_a_goal_is_met_by_the_median(bench: SimpleNamespace, goal: float | None, met: bool | None) -> None:
    found = bench.measuring.Row.of(
        "what",
        "whom",
        timings(bench, theirs=[2, 2], ours=[1, 1]),
        ours="ours",
        theirs="theirs",
        unit="ms",
        goal=goal,
        why="because",
    )
    assert found.met is met
    assert found.why == ("because" if met is False else "")
    assert (found.ours, found.theirs, found.n, found.unit) == (1000, 2000, 2, "ms, processor")


def test_what_was_not_measured_is_neither_met_nor_missed(bench: SimpleNamespace) -> None:
    assert row(bench, None, 2.0).met is None


def test_a_result_comes_back_from_its_json(bench: SimpleNamespace) -> None:
    table = bench.measuring.Table("ways", ("way", "ms"), (("a", "1"),))
    made = result(bench, row(bench, 2.0, 1.5, n=3), row(bench, None, 7, why="no GPU"), tables=(table,), quick=True)
    told = json.loads(json.dumps(made.as_json()))
    assert [one["met"] for one in told["rows"]] == [True, None]
    assert bench.measuring.Result.from_json(told) == made


def test_a_row_of_another_script_needs_little(bench: SimpleNamespace) -> None:
    told = {"what": "x", "peer": "y", "ratio": 2.5, "goal": 2, "of_its_own": 1}
    found = bench.measuring.Row.from_json(told)
    assert (found.ratio.median, found.met) == (2.5, True)


def test_the_machine_is_described_without_names(bench: SimpleNamespace) -> None:
    told = bench.measuring.machine(3)
    assert {"processor", "cores", "can", "versions"} <= set(told)
    assert told["threads"] == 3
    assert set(told["can"]) <= set(bench.measuring.FLAGS)


# --- peers -----------------------------------------------------------------------------------------------------------


def test_a_worker_answers_by_its_own_clocks(bench: SimpleNamespace) -> None:
    echo = (
        'import json, sys\nprint("chatter")\nprint(json.dumps({"ready": 1}), flush=True)\n'
        "for line in sys.stdin:\n"
        '    print(json.dumps({"wall": json.loads(line)["n"], "processor": 7}), flush=True)'
    )
    with bench.peers.Worker([sys.executable, "-c", echo], threads=1) as worker:
        assert worker.told == {"ready": 1}
        assert worker.spent({"n": 5}) == bench.measuring.Spent(wall=5, processor=7)


def test_a_worker_that_dies_is_an_error(bench: SimpleNamespace) -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        bench.peers.Worker([sys.executable, "-c", "raise SystemExit(3)"], threads=1)


def test_a_process_apart_that_fails_tells_why(bench: SimpleNamespace) -> None:
    with pytest.raises(SystemExit, match="gone wrong"):
        bench.peers.apart([sys.executable, "-c", "raise SystemExit('gone wrong')"], threads=1)


# --- the page --------------------------------------------------------------------------------------------------------


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_page_says_what_is_met_what_is_not_and_what_was_not_run(bench: SimpleNamespace) -> None:
    rows = (
        *(row(bench, 3.0, 2.0), row(bench, 1.25, 2.0, why="bfloat16 is slow here")),
        *(row(bench, None, 7.0, why="no GPU at hand"), row(bench, 1.0, None)),
    )
    text = bench.speed_page.text_of([result(bench, *rows)], None)
    met, missed, absent = lines_of(text.partition("## Goals")[2].partition("\n## ")[0], "| decode")
    assert "3.00 [2.70-3.30]" in met
    assert "**met**" in met
    assert "**not met**: bfloat16 is slow here" in missed
    assert "not measured: no GPU at hand" in absent
    assert "| 1.00 |" not in text.partition("## Goals")[2].partition("\n## ")[0]


def test_a_bar_in_a_text_breaks_no_table(bench: SimpleNamespace) -> None:
    text = bench.speed_page.text_of([result(bench, row(bench, 3.0, 2.0))], None)
    assert {line.count("|") for line in lines_of(text, "| decode / resize")} == {7}


def test_a_quick_or_a_busy_run_is_called_so(bench: SimpleNamespace) -> None:
    one = row(bench, 3.0, 2.0)
    calm, loaded = ({"busy_before": share, "cores": "2", "processor": "P"} for share in (0.1, 0.6))
    assert "Tried, not measured" in bench.speed_page.text_of([result(bench, one, quick=True)], None)
    assert "Other work" in bench.speed_page.text_of([result(bench, one, machine=loaded)], None)
    assert "Other work" not in bench.speed_page.text_of([result(bench, one, machine=calm)], None)


def test_what_people_wrote_on_the_page_stays(bench: SimpleNamespace, tmp_path: Path) -> None:
    page, picture = tmp_path / "speed.md", tmp_path / "images" / "speed.svg"
    page.write_text("# Speed\n\nWritten by hand.\n")
    for median in (3.0, 4.0):
        bench.speed_page.write_page([result(bench, row(bench, median, 2.0))], page, picture)
    text = page.read_text()
    assert text.count("Written by hand.") == text.count("## Goals") == 1
    assert "(images/speed.svg)" in text
    assert "4.00" in text
    assert "3.00" not in text
    assert picture.read_text().startswith("<svg")


def test_there_is_no_figure_of_nothing(bench: SimpleNamespace, tmp_path: Path) -> None:
    page, picture = tmp_path / "speed.md", tmp_path / "speed.svg"
    bench.speed_page.write_page([result(bench, row(bench, None, 2.0, why="it failed"))], page, picture)
    assert not picture.exists()
    assert "not measured: it failed" in page.read_text()


def test_the_axis_holds_every_range_and_goal(bench: SimpleNamespace) -> None:
    low, high = bench.speed_page.limits([row(bench, 0.5, 40.0), row(bench, 90.0, None)])
    assert low < 0.45
    assert high > 99


# --- the runner ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner with one benchmark, whose script is the text given."""

    def made(script: str | None, *more: str) -> tuple[int, str]:
        monkeypatch.setattr(bench.run, "HERE", tmp_path)
        one = bench.run.Benchmark("decode", ("decode", "cv2"))
        monkeypatch.setattr(bench.run, "BENCHMARKS", (one,))
        if script is not None:
            one.script.write_text(script)
        options = bench.run.asked(["--results", str(tmp_path / "results"), *more])
        failed = bench.run.run_all(options)
        return failed, bench.speed_page.text_of(bench.run.results_in(options.results), None)

    return made


def test_a_script_that_fails_is_a_row_that_says_so(stand_in: Any) -> None:
    failed, page = stand_in("raise SystemExit('no such | film')")
    assert failed == 1
    assert "it failed with status 1: no such / film" in page


def test_a_script_that_writes_nothing_is_a_row_that_says_so(stand_in: Any) -> None:
    failed, page = stand_in("")
    assert failed == 1
    assert "it wrote no result" in page


def test_a_result_that_is_none_is_a_row_that_says_so(stand_in: Any) -> None:
    _, page = stand_in("import sys, pathlib; pathlib.Path(sys.argv[-1]).write_text('{}')")
    assert "decode.json is no result" in page


def test_a_script_that_takes_too_long_is_a_row_that_says_so(
    bench: SimpleNamespace, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.run, "LONGEST_QUICK_S", 0.5)
    failed, page = stand_in("import time; time.sleep(30)", "--quick")
    assert failed == 1
    assert "took longer than 0.5 s" in page


def test_a_result_of_an_earlier_run_does_not_stand_for_one_that_failed(stand_in: Any) -> None:
    good = '{"name": "decode", "rows": [{"what": "w", "peer": "p", "ratio": 2.0, "goal": 1}]}'
    failed, page = stand_in(f"import sys, pathlib; pathlib.Path(sys.argv[-1]).write_text({good!r})")
    assert failed == 0
    assert "**met**" in page
    failed, page = stand_in("raise SystemExit(1)")
    assert failed == 1
    assert "**met**" not in page


def test_a_script_that_is_not_there_is_left_out(stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failed, page = stand_in(None)
    assert failed == 0
    assert "is not there" in capsys.readouterr().out
    assert "decode" not in page


def test_without_a_gpu_its_row_says_how_to_run_it(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.run.shutil, "which", lambda _name: None)
    options = bench.run.asked(["--results", str(tmp_path), "--only", "gpu"])
    assert bench.run.run_all(options) == 0
    page = bench.speed_page.text_of(bench.run.results_in(tmp_path), None)
    assert "no GPU at hand; with one: python benchmarks/gpu.py" in page


def test_a_quick_run_is_never_what_is_released(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.run.asked(["--quick", "--release"])
    assert "measured in full" in capsys.readouterr().err
    assert bench.run.asked(["--release"]).results.parts[-2:] == ("docs", "benchmarks")


def test_the_call_names_the_data_and_the_pace(bench: SimpleNamespace, tmp_path: Path) -> None:
    one = bench.run.Benchmark("decode", full=("--rounds", "9"), rooted=("--films", "{root}/nih"))
    full = bench.run.call_of(one, bench.run.asked(["--root", "/data"]), tmp_path / "d.json")
    assert full[2:] == ["--films", "/data/nih", "--rounds", "9", "--json", str(tmp_path / "d.json")]
    assert bench.run.call_of(one, bench.run.asked(["--quick"]), tmp_path / "d.json")[2:4] == ["--quick", "--json"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_tells_how_it_is_used(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--help"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"python benchmarks/{script}" in done.stdout
