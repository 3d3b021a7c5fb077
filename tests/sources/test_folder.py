"""Folders of one's own: a class per sub-folder, or a CSV with columns of any name."""

from pathlib import Path

import pytest

from hilum.errors import DataError, UsageError
from hilum.records import View
from hilum.sources import read_folder


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a picture")


def test_a_sub_folder_is_a_class(tmp_path: Path) -> None:
    root = tmp_path / "My Films"
    touch(root / "Viral Pneumonia/a.png", root / "NORMAL/b.JPG", root / "NORMAL/deep/c.jpeg", root / "NORMAL/._b.jpg")
    touch(root / "NORMAL/masks/b.png", root / "NORMAL/notes.txt")
    films = {film.image_id: film for film in read_folder(root)}
    assert sorted(films) == ["my_films/NORMAL/b", "my_films/NORMAL/deep/c", "my_films/Viral Pneumonia/a"]
    assert films["my_films/NORMAL/b"].labels == {"normal": True, "viral_pneumonia": False}
    assert films["my_films/Viral Pneumonia/a"].label_original == "Viral Pneumonia"


def test_a_film_outside_the_class_folders_has_no_label(tmp_path: Path) -> None:
    touch(tmp_path / "covid/a.png", tmp_path / "stray.png")
    stray = next(film for film in read_folder(tmp_path, source="mine") if film.path.name == "stray.png")
    assert stray.labels == {}
    assert "the film lies in no class folder" in stray.notes


def test_dicom_files_need_no_suffix(tmp_path: Path) -> None:
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal/1.2.840.1").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "normal/README").write_bytes(b"text")
    assert [film.path.name for film in read_folder(tmp_path, source="mine")] == ["1.2.840.1"]


def test_pictures_that_cannot_be_read_are_found_and_not_passed_over(tmp_path: Path) -> None:
    names = ["a.gif", "b.nii.gz", "c.JP2", "d.jfif", "e.dcm.gz"]
    touch(*(tmp_path / "normal" / name for name in (*names, "films.csv.gz", "more.tar.gz")))
    assert [film.path.name for film in read_folder(tmp_path, source="mine")] == names


def test_files_that_differ_by_suffix_alone_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path / "a/x.jpg", tmp_path / "a/x.png")
    assert [film.image_id for film in read_folder(tmp_path, source="mine")] == ["mine/a/x", "mine/a/x.png"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_csv_with_columns_of_ones_own(tmp_path: Path) -> None:
    table = write(
        tmp_path / "my.csv",
        "File,Diagnosis,Pat,Gender,Years,Taken,Pos,Ward",
        "x/a.dcm,COVID-19,p1,w,063Y,2020-03-04,ap,ICU",
        "x/b.dcm,Normal|Old TB,p1,m,50+,2020,,",
        "x/c.dcm,,p2,,,,PA,",
    )
    columns = {"path": "File", "label": "Diagnosis", "patient_id": "Pat", "sex": "Gender", "age": "Years"}
    columns |= {"date": "Taken", "view": "Pos"}
    first, second, third = read_folder(tmp_path, labels=table, columns=columns, source="ward")
    assert first.image_id == "ward/x/a"
    assert first.path == tmp_path / "x/a.dcm"
    assert first.labels == {"covid_19": True, "normal": False, "old_tb": False}
    assert (first.sex, first.age_years, str(first.acquired), first.view) == ("F", 63.0, "2020-03-04", View.AP)
    assert first.attributes == {"Ward": "ICU"}
    assert second.labels == {"covid_19": False, "normal": True, "old_tb": True}
    assert second.age_years is None
    assert third.labels == {}
    assert "no label is stated" in third.notes


def test_several_label_columns_absent_is_not_false(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "path,label.edema,Pneumo", "a.png,1,0", "b.png,,-1", "c.png,no,yes")
    films = list(read_folder(tmp_path, labels=table, columns={"label.pneumonia": "Pneumo"}, source="mine"))
    assert [film.labels for film in films] == [
        {"pneumonia": False, "edema": True},
        {},
        {"pneumonia": True, "edema": False},
    ]
    assert "pneumonia is uncertain" in films[1].notes


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("path,label.edema", "a.png,perhaps"), "line 2 .* column 'label.edema'"),
        (("path,label", ",normal"), "line 2 .* names no film"),
        (("file,label", "a.png,normal"), "no column 'path'"),
    ],
)
def test_a_cell_that_cannot_be_understood_is_an_error(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    table = write(tmp_path / "t.csv", *lines)
    with pytest.raises(DataError, match=message):
        list(read_folder(tmp_path, labels=table))


def test_wrong_use_is_said(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "path", "a.png")
    with pytest.raises(UsageError, match="no field 'colour'"):
        list(read_folder(tmp_path, labels=table, columns={"colour": "path"}))
    with pytest.raises(DataError, match="does not exist"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no film lies under"):
        list(read_folder(tmp_path))
