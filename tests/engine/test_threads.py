"""Threads of a network: by core, by what a container is granted, one in a process that is one of many."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from hilum.engine.threads import threads_wanted
from hilum.parallel import default_processes
from hilum.process import cores_granted, instructions, stay_silent


def test_one_thread_a_core_or_what_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.engine.threads.default_processes", lambda: 8)
    monkeypatch.setattr("hilum.engine.threads.cores_granted", lambda: 6)
    for told, wanted in (("", 6), ("0", 6), ("many", 6), ("3", 3), ("99", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert threads_wanted() == wanted, told
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_wanted() == 6


def test_a_process_that_is_one_of_many_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(threads_wanted).result() == 1
    assert threads_wanted() <= default_processes()


def test_a_container_is_granted_what_its_control_group_says(tmp_path: Path) -> None:
    everything = cores_granted(tmp_path)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cores_granted(tmp_path) == 2
    (tmp_path / "cpu.max").write_text("20000 100000\n")
    assert cores_granted(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores_granted(tmp_path) == everything
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores_granted(tmp_path) == 3
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores_granted(tmp_path) == everything


def test_instructions_for_short_numbers_are_told(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nflags : fpu avx2 avx512_vnni amx_tile avx512_bf16\n\nprocessor : 1\nflags : fpu\n")
    assert instructions(told) == ("amx_tile", "avx512_bf16", "avx512_vnni")
    assert instructions(tmp_path / "none") == ()


def test_openvino_cannot_load_what_reports_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    stay_silent()
    with pytest.raises(ModuleNotFoundError):
        __import__("openvino_telemetry")
