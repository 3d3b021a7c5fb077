"""The index: every film a row, what is wrong with it said, what belongs together in one group."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from hilum.checks import Facts
from hilum.errors import DataError
from hilum.index import FORMAT, Index, build_index, complete, counted, describe_records
from hilum.parallel import Crashed
from hilum.records import Radiograph, View
from hilum.sources import read_source


def shades(seed: int, side: int = 120) -> np.ndarray:
    """(side, side) uint8 that looks like no other seed's."""
    rough = np.random.default_rng(seed).random((9, 9))
    smooth = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.rint(255 * np.clip(smooth, 0, 1)).astype(np.uint8)


def write(path: Path, film: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), film)
    return path


def film(path: Path, **stated: Any) -> Radiograph:
    source = stated.pop("source", path.parent.name)
    return Radiograph(image_id=f"{source}/{path.name}", source=source, path=path, **stated)


def indexed(root: Path, *films: Radiograph, **how: Any) -> Index:
    return build_index(films, root, **{"processes": 1, **how})


def together(index: Index, *names: str) -> bool:
    """Whether these films lie in one group."""
    table = index.table
    return len(set(table.loc[table["path"].str.rsplit("/", n=1).str[-1].isin(names), "group_id"])) == 1


def broken(folder: Path) -> dict[str, Path]:
    """Files that are no usable film, by the kind of reason."""
    folder.mkdir()
    grey = shades(0)
    png, jpeg = write(folder / "whole.png", grey).read_bytes(), write(folder / "whole.jpg", grey).read_bytes()
    frames = [Image.fromarray(shades(seed)) for seed in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    colour = np.dstack([shades(seed) for seed in range(3)])
    contents = {"empty.png": b"", "text.png": b"not a film", "cut.png": png[:-40], "cut.jpg": jpeg[: len(jpeg) // 2]}
    contents["bits.png"] = png[:60] + bytes([png[60] ^ 0xFF]) + png[61:]
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    write(folder / "photo.png", colour)
    write(folder / "tiny.png", grey[:20, :20])
    write(folder / "black.png", np.zeros_like(grey))
    (folder / "folder.png").mkdir()
    reasons = {"empty.png": "empty", "text.png": "unknown format", "cut.png": "truncated", "cut.jpg": "truncated"}
    reasons |= {"bits.png": "damaged", "moving.gif": "unknown format", "moving.png": "several pictures"}
    reasons |= {"photo.png": "colour", "tiny.png": "too small", "black.png": "constant", "folder.png": "not found"}
    reasons["missing.png"] = "not found"
    return {f"{kind} {name}": folder / name for name, kind in reasons.items()}


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_no_film_is_listed_with_its_reason(tmp_path: Path, processes: int) -> None:
    bad = broken(tmp_path / "site")
    good = film(write(tmp_path / "site" / "good.png", shades(7)))
    index = indexed(tmp_path, *(film(path) for path in bad.values()), good, processes=processes)
    assert len(index.table) == len(bad) + 1
    assert index.films["image_id"].tolist() == ["site/good.png"]
    for (told, path), reason in zip(bad.items(), index.left_out["left_out"], strict=True):
        kind = told.rpartition(" ")[0]
        assert reason.startswith(f"{kind}: {path.name} ")
        assert str(tmp_path) not in reason
    assert counted(index.left_out["left_out"])["truncated"] == 2
    assert sum(counted(index.left_out["left_out"]).values()) == len(bad)


def test_a_film_that_kills_its_process_is_listed(tmp_path: Path) -> None:
    """The decoder's death is simulated where processes hand their results over; `test_parallel` kills real ones."""
    films = [film(write(tmp_path / "site" / f"{seed}.png", shades(seed))) for seed in range(3)]

    def spread(work: Callable[[Any], Any], items: Any, *, processes: int | None) -> Any:
        return ((item, Crashed(item) if item[0] == 1 else work(item)) for item in items)

    index = indexed(tmp_path, *films, spread=spread)
    assert index.left_out["left_out"].tolist() == ["decoder crashed: 1.png ended the process that read it"]
    assert len(indexed(tmp_path, *films).films) == 3


def test_rows_keep_the_order_of_the_records_and_what_they_say(tmp_path: Path) -> None:
    films = [
        film(
            write(tmp_path / "site" / f"{seed}.png", shades(seed, 80 + seed)),
            labels={"covid19": seed == 1} if seed else {},
            view=View.PA if seed else None,
            age_years=40.5 if seed else None,
            acquired=dt.date(2020, 3, 1) if seed else None,
            attributes={"city": "Graz"} if seed else {},
            notes=("one", "two") if seed else (),
        )
        for seed in (2, 0, 1)
    ]
    table = indexed(tmp_path, *films, processes=2).table
    assert table["width"].tolist() == [82, 80, 81]
    assert table["path"].tolist() == ["site/2.png", "site/0.png", "site/1.png"]
    assert table["label.covid19"].tolist() == [False, pd.NA, True]
    assert table["notes"].tolist() == ["one; two", pd.NA, "one; two"]
    columns = ["view", "age_years", "acquired", "attr.city", "sex", "left_out"]
    assert table.loc[0, columns].tolist() == ["PA", 40.5, "2020-03-01", "Graz", pd.NA, pd.NA]
    assert table.loc[1, columns].isna().all()


def test_no_film_and_one_id_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no radiograph"):
        indexed(tmp_path)
    one = film(write(tmp_path / "site" / "a.png", shades(0)))
    with pytest.raises(DataError, match=r"'site/a\.png' occurs more than once"):
        indexed(tmp_path, one, one)


def test_films_outside_the_root_keep_their_whole_path(tmp_path: Path) -> None:
    outside = film(write(tmp_path / "elsewhere" / "a.png", shades(0)))
    index = indexed(tmp_path / "root", outside)
    assert index.table["path"].tolist() == [str(tmp_path / "elsewhere" / "a.png")]
    assert index.path(index.table["path"].iloc[0]).is_file()


def copies(root: Path) -> list[Radiograph]:
    """A picture as it was, again with the same bytes, and as four exports would leave it; and two other films."""
    grey = shades(0, 300)
    write(root / "one" / "first.png", grey)
    write(root / "one" / "other.png", shades(1, 300))
    write(root / "two" / "bytes.png", grey)
    write(root / "two" / "jpeg.jpg", grey)
    write(root / "two" / "small.png", cv2.resize(grey, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA))
    write(root / "two" / "pale.png", (grey * 0.75 + 20).astype(np.uint8))
    write(root / "two" / "deep.png", grey.astype(np.uint16) * 257)
    write(root / "two" / "stranger.png", shades(2, 300))
    return [
        film(path)
        for path in sorted(root.rglob("*.*g"), key=lambda path: (path.parent, path.name != "first.png", path))
    ]


def test_copies_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    index = indexed(tmp_path, *copies(tmp_path))
    table = index.table.set_index("image_id")
    assert table["duplicate_of"].dropna().to_dict() == {"two/bytes.png": "one/first.png"}
    near = {f"two/{name}": "one/first.png" for name in ("jpeg.jpg", "small.png", "pale.png", "deep.png")}
    assert table["near_duplicate_of"].dropna().to_dict() == near
    assert table["group_id"].nunique() == 3
    assert table["sha256"].nunique() == len(table) - 1


def test_patients_join_films_within_a_source_only(tmp_path: Path) -> None:
    paths = [write(tmp_path / place, shades(n)) for n, place in enumerate(["a/1.png", "a/2.png", "a/3.png", "b/4.png"])]
    ids = ["17", "17", None, "17"]
    index = indexed(tmp_path, *(film(path, patient_id=one) for path, one in zip(paths, ids, strict=True)))
    assert together(index, "1.png", "2.png")
    assert index.table["group_id"].nunique() == 3


def test_ties_are_followed_to_the_end_and_across_sources(tmp_path: Path) -> None:
    """1 and 2 share a patient, 2 and 3 a picture, 3 and 4 the group their source states, 4 and 5 their bytes."""
    grey = shades(2)
    paths = {
        "1.png": write(tmp_path / "a" / "1.png", shades(1)),
        "2.png": write(tmp_path / "a" / "2.png", grey),
        "3.jpg": write(tmp_path / "b" / "3.jpg", grey),
        "4.png": write(tmp_path / "c" / "4.png", shades(4)),
        "5.png": write(tmp_path / "d" / "5.png", shades(4)),
        "6.png": write(tmp_path / "d" / "6.png", shades(6)),
    }
    stated = {"1.png": {"patient_id": "x"}, "2.png": {"patient_id": "x"}}
    stated |= {"3.jpg": {"group_id": "g7"}, "4.png": {"group_id": "g7"}}
    index = indexed(tmp_path, *(film(path, **stated.get(name, {})) for name, path in paths.items()))
    assert together(index, "1.png", "2.png", "3.jpg", "4.png", "5.png")
    assert index.table["group_id"].nunique() == 2


def test_a_group_is_called_the_same_whatever_the_order(tmp_path: Path) -> None:
    films = copies(tmp_path)
    there = indexed(tmp_path, *films).table.set_index("image_id")["group_id"]
    back = indexed(tmp_path, *films[::-1]).table.set_index("image_id")["group_id"]
    assert there.to_dict() == back.to_dict()


def test_a_recurring_placeholder_is_one_group() -> None:
    said = describe_records(
        (Radiograph(image_id=f"{n:05}", source="a", path=Path(f"/{n}")) for n in range(5000)), Path("/")
    )
    table = complete(said, [Facts(sha256=f"{n:064x}", phash="0f" * 32) for n in range(5000)])
    assert len(set(table["group_id"])) == 1
    assert table["near_duplicate_of"].iloc[1:].eq("00000").all()
    assert pd.isna(table["near_duplicate_of"].iloc[0])


def test_facts_must_be_one_a_film() -> None:
    said = describe_records([Radiograph(image_id="a", source="a", path=Path("/a"))], Path("/"))
    with pytest.raises(ValueError, match=r"[Ll]ength|[Ss]hape"):
        complete(said, [Facts(), Facts()])


def dicom(path: Path, stored: np.ndarray, **attributes: Any) -> Path:
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4", "DX"
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = (stored.astype(np.uint16) << 4).tobytes()
    data.BodyPartExamined = "CHEST"
    for name, value in attributes.items():
        setattr(data, name, value)
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


HEADER = {
    "PatientID": "DOE-4711",
    "PatientSex": "F",
    "PatientAge": "061Y",
    "ViewPosition": "PA",
    "Manufacturer": "Philips",
    "ManufacturerModelName": "DigitalDiagnost",
    "AcquisitionDate": "20200301",
}


def test_a_header_answers_where_the_source_is_silent(tmp_path: Path) -> None:
    row = indexed(tmp_path, film(dicom(tmp_path / "site" / "a.dcm", shades(0), **HEADER))).table.iloc[0]
    told = row[["view", "sex", "age_years", "manufacturer", "model", "acquired"]].tolist()
    assert told == ["PA", "F", 61.0, "Philips", "DigitalDiagnost", "2020-03-01"]
    assert pd.isna(row["notes"])
    assert row["patient_id"]
    assert "DOE" not in " ".join(str(value) for value in row)


def test_the_sources_word_stays_and_a_contradiction_is_noted(tmp_path: Path) -> None:
    path = dicom(tmp_path / "site" / "a.dcm", shades(0), **HEADER)
    stated = {"view": View.AP, "sex": "M", "age_years": 30.0, "manufacturer": "PHILIPS", "notes": ("said",)}
    row = indexed(tmp_path, film(path, patient_id="7", **stated)).table.iloc[0]
    assert row[["view", "sex", "age_years", "manufacturer", "patient_id"]].tolist() == ["AP", "M", 30.0, "PHILIPS", "7"]
    disagrees = "DICOM header disagrees about"
    assert row["notes"] == f"said; {disagrees} view; {disagrees} sex; {disagrees} age_years"


def test_frontal_is_made_precise_and_months_of_age_are_no_contradiction(tmp_path: Path) -> None:
    path = dicom(tmp_path / "site" / "a.dcm", shades(0), **HEADER)
    row = indexed(tmp_path, film(path, view=View.FRONTAL, age_years=61.4)).table.iloc[0]
    assert row["view"] == "PA"
    assert row["age_years"] == 61.4
    assert pd.isna(row["notes"])


def test_headers_join_films_of_one_patient(tmp_path: Path) -> None:
    first = film(dicom(tmp_path / "site" / "1.dcm", shades(1), **HEADER), patient_id="7")
    second = film(dicom(tmp_path / "site" / "2.dcm", shades(2), **HEADER))
    elsewhere = film(dicom(tmp_path / "other" / "3.dcm", shades(3), **HEADER))
    index = indexed(tmp_path, first, second, elsewhere)
    assert together(index, "1.dcm", "2.dcm")
    assert index.table["group_id"].nunique() == 2


def test_a_placeholder_in_headers_joins_nobody_the_source_tells_apart(tmp_path: Path) -> None:
    films = [
        film(dicom(tmp_path / "site" / f"{n}.dcm", shades(n), PatientID="ANON"), patient_id=f"p{n}") for n in range(3)
    ]
    assert indexed(tmp_path, *films).table["group_id"].nunique() == 3


@pytest.fixture
def small(tmp_path: Path) -> Index:
    """Two films in use, one not, with gaps in every kind of column."""
    first = film(write(tmp_path / "site" / "a.png", shades(0)), labels={"covid19": True}, age_years=3.25, sex="F")
    second = film(write(tmp_path / "site" / "b.png", shades(1)), labels={"edema": False}, attributes={"city": "Köln"})
    return indexed(tmp_path, first, second, film(tmp_path / "site" / "c.png"))


def test_the_digest_names_the_content_only(small: Index, tmp_path: Path) -> None:
    shuffled = small.table.sample(frac=1, random_state=1)[sorted(small.table.columns)]
    assert Index(shuffled, Path("/elsewhere")).digest == small.digest
    for column, value in (
        ("label.covid19", False),
        ("sex", "M"),
        ("left_out", "x"),
        ("group_id", "g"),
        ("sha256", "0"),
    ):
        changed = small.table.copy()
        changed.loc[0, column] = value
        assert Index(changed, small.root).digest != small.digest
    assert Index(small.table.iloc[:2], small.root).digest != small.digest


def test_an_unassessed_label_is_another_content_than_a_negative_one(small: Index) -> None:
    changed = small.table.copy()
    changed["label.covid19"] = changed["label.covid19"].fillna(value=False)
    assert Index(changed, small.root).digest != small.digest


def test_the_digest_does_not_depend_on_where_parts_end(small: Index) -> None:
    many = pd.concat([small.table] * 4000, ignore_index=True)
    many["image_id"] = [f"{number:06}" for number in range(len(many))]
    digest = Index(many, small.root).digest
    many.loc[len(many) - 1, "sex"] = "M"
    assert Index(many, small.root).digest != digest


def test_saved_and_loaded_it_is_the_same(small: Index, tmp_path: Path) -> None:
    small.save(tmp_path / "deep" / "index.parquet")
    loaded = Index.load(tmp_path / "deep" / "index.parquet")
    pd.testing.assert_frame_equal(loaded.table, small.table)
    assert loaded.digest == small.digest
    assert loaded.root == small.root.resolve()
    assert loaded.table["label.covid19"].tolist() == [True, pd.NA, pd.NA]
    assert {name: str(kind) for name, kind in loaded.table.dtypes.items()}.items() >= {
        ("age_years", "Float64"),
        ("width", "Int64"),
        ("label.edema", "boolean"),
        ("attr.city", "string"),
        ("left_out", "string"),
    }
    assert Index.load(tmp_path / "deep" / "index.parquet", root=Path("/moved")).path("a") == Path("/moved/a")


def test_what_is_no_index_is_refused(small: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Index.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match=r"text\.parquet is not a readable Parquet file"):
        Index.load(tmp_path / "text.parquet")
    small.save(tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.parquet"):
        Index.load(tmp_path / "cut.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="not an index of format"):
        Index.load(tmp_path / "other.parquet")


def test_another_format_number_is_refused(small: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("hilum.index.FORMAT", FORMAT + 1)
        small.save(tmp_path / "index.parquet")
    with pytest.raises(DataError, match=f"not an index of format {FORMAT}"):
        Index.load(tmp_path / "index.parquet")


def test_leaving_out_keeps_the_first_reason_and_the_original(small: Index) -> None:
    everything = pd.Series(data=True, index=small.table.index)
    less = small.leave_out(everything, "not wanted")
    assert less.films.empty
    assert less.table["left_out"].tolist()[:2] == ["not wanted"] * 2
    assert less.table["left_out"].iloc[2].startswith("not found")
    assert len(small.films) == 2
    assert less.table["left_out"].dtype == small.table["left_out"].dtype
    assert small.labels == ["covid19", "edema"]


def test_every_described_column_is_a_field_of_a_radiograph() -> None:
    from hilum.index import DESCRIBED

    known = {field.name for field in dataclasses.fields(Radiograph)}
    assert set(DESCRIBED) == known - {"labels", "attributes"}


@pytest.mark.slow
def test_real_films_keep_the_groups_known_for_them(data_pack: Path) -> None:
    """Every set of the pack's groups stays whole, and films that only the pack's keypoint matching joins stay so."""
    records = list(read_source("sandrofab", data_pack))
    index = build_index(records, data_pack)
    assert len(index.films) == len(index.table) == 680
    known = pd.Series({record.image_id: record.group_id for record in records})
    ours = index.table.set_index("image_id")["group_id"]
    assert ours.groupby(known).nunique().max() == 1
    unaided = build_index([dataclasses.replace(record, group_id=None) for record in records], data_pack)
    assert known.groupby(unaided.table.set_index("image_id")["group_id"]).nunique().max() == 1
