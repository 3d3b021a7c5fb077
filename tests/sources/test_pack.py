"""The pack layout: labels, views and masks of index.csv, and what it leaves open."""

from pathlib import Path

import pytest

from hilum.errors import DataError
from hilum.records import Radiograph, View
from hilum.sources import read_pack, read_source

HEADER = (
    "image_id,file,label,label_std,view,projection,view_detail,patient_id,group_id,sex,age,lung_mask,"
    "use_for_classification,site,planted_marker"
)


def one(root: Path, **cells: str) -> Radiograph:
    """The first film of a pack of two, the second being an unremarkable bacterial one."""
    folder = root / "cohort"
    folder.mkdir(exist_ok=True)
    defaults = {"image_id": "cohort__a", "file": "cohort/images/a.png", "label_std": "covid19", "view": "PA"}
    values = [(defaults | cells).get(column, "") for column in HEADER.split(",")]
    text = ",".join(f'"{value}"' for value in values)
    other = "cohort__b,cohort/images/b.png,,bacterial_pneumonia,AP" + "," * 10
    (folder / "index.csv").write_text("\n".join([HEADER, text, other]) + "\n", encoding="utf-8")
    return next(read_pack("cohort", root))


def test_classes_are_those_that_occur(tmp_path: Path) -> None:
    film = one(tmp_path)
    assert film.image_id == "cohort/a"
    assert film.path == tmp_path / "cohort/images/a.png"
    assert film.labels == {"covid19": True, "bacterial_pneumonia": False}


def test_known_absent_labels_are_false_beside_a_diagnosis(tmp_path: Path) -> None:
    one(tmp_path, label_std="pneumonia", label="Infiltration|Pneumonia")
    film = next(read_pack("cohort", tmp_path, classes=("normal", "pneumonia"), known_absent=("covid19",)))
    assert film.labels == {"normal": False, "pneumonia": True, "covid19": False}


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ({"label_std": "other", "label": "ARDS"}, "no diagnosis"),
        ({"label_std": "covid19", "use_for_classification": "0"}, "not for classification"),
    ],
)
def test_other_and_unusable_films_have_no_labels_and_say_why(tmp_path: Path, cells: dict[str, str], note: str) -> None:
    film = one(tmp_path, **cells)
    assert film.labels == {}
    assert any(note in text for text in film.notes)


def test_pneumonia_of_a_stated_cause_excludes_the_rest(tmp_path: Path) -> None:
    stated = one(tmp_path, label_std="pneumonia", label="Pneumocystis")
    unstated = one(tmp_path, label_std="pneumonia", label="Pneumonia")
    assert stated.labels == {"pneumonia": True, "bacterial_pneumonia": False}
    assert unstated.labels == {"pneumonia": True}


@pytest.mark.parametrize(
    ("view", "projection", "modality", "expected"),
    [
        ("PA", "frontal", "XR", View.PA),
        ("AP", "frontal", "XR", View.AP),
        ("L", "lateral", "XR", View.LATERAL),
        ("unknown", "frontal", "XR", View.FRONTAL),
        ("", "frontal", "XR", View.FRONTAL),
        ("", "lateral", "XR", View.LATERAL),
        ("", "", "XR", None),
        ("CT", "", "CT", View.OTHER),
        ("unknown", "ct_slice", "CT", View.OTHER),
    ],
)
def test_view_and_projection(tmp_path: Path, view: str, projection: str, modality: str, expected: View | None) -> None:
    film = one(tmp_path, view=view, projection=projection)
    assert (film.modality, film.view) == (modality, expected)
    assert (expected is None) == ("view is not stated" in film.notes)


def test_set_level_statements_are_noted(tmp_path: Path) -> None:
    film = one(tmp_path, age="1-5 y (dataset-level)", view="AP", view_detail="AP (dataset-level statement)", sex="U")
    assert film.age_years is None
    assert film.view is View.AP
    assert film.sex is None
    assert film.attributes["age"] == "1-5 y (dataset-level)"
    assert set(film.notes) >= {
        "age is stated for the whole set only",
        "view is stated for the whole set only",
        "sex is neither F nor M",
    }


def test_columns_the_simulator_adds_become_attributes(tmp_path: Path) -> None:
    film = one(tmp_path, site="C", planted_marker="1", group_id="g7", patient_id="p7")
    assert film.attributes == {"site": "C", "planted_marker": "1"}
    assert (film.group_id, film.patient_id) == ("g7", "p7")


def test_a_lung_mask_is_set_only_where_its_file_is(tmp_path: Path) -> None:
    film = one(tmp_path, lung_mask="by hand")
    assert film.lung_mask is None
    assert any("mask is announced" in note for note in film.notes)
    mask = tmp_path / "cohort/masks/lungs/a.png"
    mask.parent.mkdir(parents=True)
    mask.touch()
    assert one(tmp_path, lung_mask="by hand").lung_mask == mask
    assert one(tmp_path).lung_mask is None


def test_a_pack_without_ids_is_named_by_its_files_and_twins_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    (folder / "index.csv").write_text("file\ncohort/x/a.png\ncohort/y/a.png\ncohort/y/a.png\n", encoding="utf-8")
    ids = [film.image_id for film in read_pack("cohort", tmp_path)]
    assert ids == ["cohort/a", "cohort/cohort/y/a.png", "cohort/cohort/y/a.png#2"]


def test_surplus_cells_are_joined_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    (folder / "index.csv").write_text("file,address\ncohort/a.png,in here, there\n", encoding="utf-8")
    film = next(read_pack("cohort", tmp_path))
    assert film.attributes == {"address": "in here, there"}
    assert "more cells than the header" in film.notes[0]


def test_a_table_without_files_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated/index.csv").write_text("image_id\na\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'file'"):
        read_source("simulated", tmp_path)


def test_index_csv_wins_over_the_published_layout(tmp_path: Path) -> None:
    top = tmp_path / "sandrofab"
    (top / "dataset_for_classification/COVID").mkdir(parents=True)
    (top / "dataset_for_classification/COVID/published.png").touch()
    (top / "index.csv").write_text("file,label_std\nsandrofab/packed.png,covid19\n", encoding="utf-8")
    (film,) = read_source("sandrofab", tmp_path)
    assert film.path.name == "packed.png"
    assert film.labels == {
        "bacterial_pneumonia": False,
        "covid19": True,
        "normal": False,
        "viral_pneumonia": False,
    }
