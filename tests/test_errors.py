"""Errors are one sentence a user can act on."""

import sys
from pathlib import Path

import pytest

from hilum import errors
from hilum.errors import HilumError, MissingExtra, UsageError, nearest, require, unknown_name


def test_every_kind_is_one_base_with_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HilumError)]
    assert len(kinds) >= 6
    assert {kind.__name__: kind.exit_status for kind in kinds if kind.exit_status != 1} == {"UsageError": 2}


@pytest.mark.parametrize("typed", ["sandrofap", "Sandrofab", "SANDROFAB", "sandro-fab"])
def test_the_nearest_name_is_suggested(typed: str) -> None:
    error = unknown_name("source", typed, ["kermany", "sandrofab"])
    assert isinstance(error, UsageError)
    assert f"unknown source '{typed}'; did you mean 'sandrofab'?" in str(error)
    assert "kermany" in str(error)


def test_a_name_like_no_other_gets_the_list_only() -> None:
    assert str(unknown_name("view", "xyz", ["PA", "AP"])) == "unknown view 'xyz'. Known: AP, PA."
    assert str(unknown_name("view", "xyz", [])) == "unknown view 'xyz'. Known: none."
    assert nearest("xyz", ["PA"]) is None


def test_a_missing_extra_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(MissingExtra, match=r"'no_such_package'.*pip install 'hilum\[serve\]'"):
        require("no_such_package.inner", extra="serve")
    assert require("json", extra="serve").loads("1") == 1


def test_a_package_missing_inside_the_optional_one_is_the_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import its_own_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtra, match="its_own_dependency"):
        require("half_installed", extra="serve")
    sys.modules.pop("half_installed", None)
