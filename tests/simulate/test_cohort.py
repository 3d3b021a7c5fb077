import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from hilum.errors import DataError, UsageError
from hilum.records import COVID19, NORMAL, View
from hilum.simulate.cohort import CohortSpec, plan_cohort, simulate_cohort
from hilum.simulate.sheet import draw_sheet
from hilum.simulate.shortcuts import Plant

SMALL = CohortSpec(films=5, seed=7, size_px=96)
Rows = list[dict[str, str]]


def rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def grey(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None, path
    return picture


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"films": 0}, "films is 0"),
        ({"size_px": 10}, "size_px is 10"),
        ({"sites": 0}, "sites is 0"),
        ({"near_duplicates": 1.5}, r"near_duplicates is 1\.5"),
        ({"films_per_patient": 0.5}, r"films_per_patient is 0\.5"),
        ({"labels": ("covid",)}, "did you mean 'covid19'"),
        ({"labels": ()}, "at least one"),
        ({"views": (View.PA, View.PA)}, "every view once"),
        ({"views": (View.FRONTAL,)}, "unknown view"),
        ({"format": "tiff"}, "unknown format 'tiff'"),
        ({"plants": (Plant.parse("marker=lupus@0.9"),)}, "unknown label in plant"),
        ({"plants": (Plant.parse("marker=covid19@0.9"), Plant.parse("marker=normal@0.9"))}, "given twice"),
        ({"plants": (Plant.parse("marker=covid19@0.9"),), "labels": ("covid19",)}, "second label"),
        ({"plants": (Plant.parse("view=covid19@0.9"),), "views": (View.PA,)}, "AP against PA"),
        ({"plants": (Plant.parse("site=covid19@0.9"),), "sites": 1}, "two sites"),
    ],
)
def test_bad_specifications_are_refused_in_one_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        CohortSpec(**({"films": 8} | changes))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_plan_is_balanced_by_label_and_repeats() -> None:
    spec = CohortSpec(films=400, seed=3)
    jobs = plan_cohort(spec)
    assert jobs == plan_cohort(spec)
    assert [job.plan.label for job in jobs].count(COVID19) == 100
    assert len({job.image_id for job in jobs}) == 400
    labels_of: dict[int, set[str]] = {}
    for job in jobs:
        labels_of.setdefault(job.plan.patient, set()).add(job.plan.label)
    assert all(len(labels) == 1 for labels in labels_of.values())
    assert 400 / len(labels_of) == pytest.approx(1.2, abs=0.03)


def test_nothing_but_the_disease_goes_with_the_label() -> None:
    jobs = plan_cohort(CohortSpec(films=4000, seed=1))
    ill = np.array([job.plan.label == COVID19 for job in jobs])
    traits = {
        "number": [job.plan.film for job in jobs],
        "patient": [job.plan.patient for job in jobs],
        "age": [job.plan.age_years for job in jobs],
        "man": [job.plan.sex == "M" for job in jobs],
        "AP": [job.plan.view is View.AP for job in jobs],
        **{f"site{i}": [job.plan.site.name == f"site{i}" for job in jobs] for i in range(4)},
        "day": [np.datetime64(job.acquired).astype(int) for job in jobs],
    }
    for name, values in traits.items():
        assert abs(np.corrcoef(ill, np.array(values, float))[0, 1]) < 0.07, name


@pytest.mark.parametrize(
    ("kind", "trait"),
    [
        ("view", lambda plan: plan.view is View.AP),
        ("sex", lambda plan: plan.sex == "M"),
        ("age", lambda plan: plan.age_years >= 60),
        ("site", lambda plan: plan.site.name == "site0"),
        ("exposure", lambda plan: plan.underexposed),
    ],
)
def test_plants_of_the_acquisition_reach_every_film(kind: str, trait: object) -> None:
    full = plan_cohort(CohortSpec(films=60, plants=(Plant.parse(f"{kind}=covid19@1"),)))
    assert all(trait(job.plan) == (job.plan.label == COVID19) == job.marks[kind] for job in full)
    none = plan_cohort(CohortSpec(films=2000, plants=(Plant.parse(f"{kind}=covid19@0.5"),)))
    shares = [np.mean([trait(job.plan) for job in none if (job.plan.label == COVID19) is ill]) for ill in (True, False)]
    assert shares[0] == pytest.approx(shares[1], abs=0.09)


def test_planting_leaves_the_rest_of_the_plan_alone() -> None:
    plain = plan_cohort(CohortSpec(films=40))
    planted = plan_cohort(CohortSpec(films=40, plants=(Plant.parse("marker=covid19@0.9"),)))
    assert [job.plan for job in plain] == [job.plan for job in planted]


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(lasting_cache: Path, tmp_path: Path) -> None:
    spec = replace(SMALL, counterfactuals=True, near_duplicates=0.4, plants=(Plant.parse("marker=covid19@0.9"),))
    one, two = (simulate_cohort(spec, tmp_path / str(n), processes=n) for n in (1, 2))
    assert everything(one) == everything(two)
    other = simulate_cohort(replace(spec, seed=8), tmp_path / "other", processes=1)
    assert everything(one) != everything(other)


def test_an_interrupted_cohort_goes_on_where_it_stopped(lasting_cache: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_early(done: int, _: int) -> None:
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        simulate_cohort(SMALL, tmp_path / "a", processes=1, progress=stop_early)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "a" / "simulated" / "images").iterdir()}
    assert len(kept) == 3
    seen: list[tuple[int, int]] = []
    again = simulate_cohort(SMALL, tmp_path / "a", processes=1, progress=lambda *step: seen.append(step))
    assert seen == [(3, 5), (4, 5), (5, 5)]
    assert all(p.stat().st_mtime_ns == time for p, time in kept.items())
    assert everything(again) == everything(simulate_cohort(SMALL, tmp_path / "b", processes=1))


def test_another_cohort_in_the_folder_is_not_touched(lasting_cache: Path, tmp_path: Path) -> None:
    folder = simulate_cohort(replace(SMALL, films=1), tmp_path, processes=1)
    before = everything(folder)
    with pytest.raises(UsageError, match="holds another cohort"):
        simulate_cohort(SMALL, tmp_path, processes=1)
    assert everything(folder) == before
    (folder / "cohort.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        simulate_cohort(SMALL, tmp_path, processes=1)


@pytest.fixture(scope="module")
def cohort(ct_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = replace(SMALL, films=8, counterfactuals=True, near_duplicates=0.5, size_px=128)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HILUM_CACHE", str(ct_package))
        return simulate_cohort(spec, tmp_path_factory.mktemp("cohort"), processes=1)


def test_the_index_lists_every_film_with_its_truth(cohort: Path) -> None:
    listed = rows(cohort / "index.csv")
    assert len(listed) == 12
    boxes = rows(cohort / "boxes.csv")
    for row in listed:
        picture = grey(cohort.parent / row["file"])
        lungs, lesion = (grey(cohort / "masks" / kind / f"{row['image_id']}.png") for kind in ("lungs", "lesions"))
        assert picture.shape == lungs.shape == lesion.shape == (int(row["height"]), int(row["width"]))
        assert set(np.unique(lesion)) <= {0, 255}
        assert not (lesion & ~lungs).any()
        assert bool(lesion.any()) == (row["label"] != NORMAL)
        assert float(row["extent"]) == pytest.approx((lesion > 0).sum() / (lungs > 0).sum(), abs=1e-3)
        own = [box for box in boxes if box["image_id"] == row["image_id"]]
        for box in own:
            x, y, w, h = (int(box[key]) for key in "xywh")
            inside = lesion[y : y + h, x : x + w] > 0
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()  # noqa: PT018
        assert len((cohort / "boxes" / f"{row['image_id']}.txt").read_text().splitlines()) == len(own)


def test_near_duplicates_are_new_pictures_of_the_same_patient(cohort: Path) -> None:
    listed = {row["image_id"]: row for row in rows(cohort / "index.csv")}
    copies = [row for row in listed.values() if row["duplicate_of"]]
    assert len(copies) == 4
    for row in copies:
        original = listed[row["duplicate_of"]]
        assert row["group_id"] == original["group_id"]
        one, two = (cv2.resize(grey(cohort.parent / r["file"]), (32, 32)).ravel() for r in (row, original))
        assert 0.8 < np.corrcoef(one, two)[0, 1] < 0.99999


def test_counterfactuals_are_written_for_the_diseased(cohort: Path) -> None:
    for row in rows(cohort / "index.csv"):
        if row["duplicate_of"]:
            continue
        assert bool(row["counterfactual"]) == (row["label"] != NORMAL)
        if row["counterfactual"]:
            film, without = (grey(cohort.parent / row[key]) for key in ("file", "counterfactual"))
            lesion = grey(cohort / "masks" / "lesions" / f"{row['image_id']}.png") > 0
            assert film[lesion].mean() > without[lesion].mean()


def test_the_lesion_free_control_keeps_labels_and_everything_but_the_disease(
    lasting_cache: Path, tmp_path: Path
) -> None:
    ill = simulate_cohort(replace(SMALL, counterfactuals=True), tmp_path / "ill", processes=1)
    control = simulate_cohort(replace(SMALL, lesions=False), tmp_path / "control", processes=1)
    pairs = list(zip(rows(ill / "index.csv"), rows(control / "index.csv"), strict=True))
    for with_disease, without in pairs:
        assert with_disease["label"] == without["label"]
        twin = with_disease["counterfactual"] or with_disease["file"]
        assert np.array_equal(grey(ill.parent / twin), grey(control.parent / without["file"]))
        assert float(without["extent"]) == float(without["severity"]) == 0
    assert rows(control / "boxes.csv") == []


def test_blanking_the_lungs_removes_nearly_all_of_the_disease(cohort: Path) -> None:
    inside = outside = 0.0
    for row in rows(cohort / "index.csv"):
        if row["counterfactual"] and not row["duplicate_of"]:
            film, without = (grey(cohort.parent / row[key]).astype(float) for key in ("file", "counterfactual"))
            lungs = grey(cohort / "masks" / "lungs" / f"{row['image_id']}.png")
            lungs = cv2.dilate(lungs, np.ones((5, 5), np.uint8)) > 0
            inside += np.abs(film - without)[lungs].sum()
            outside += np.abs(film - without)[~lungs].sum()
    assert outside < 0.05 * inside


@pytest.mark.parametrize("view", [View.PA, View.LATERAL])
def test_dicom_says_what_it_holds(lasting_cache: Path, tmp_path: Path, view: View) -> None:
    spec = replace(SMALL, films=1, format="dcm", views=(view,))
    folder = simulate_cohort(spec, tmp_path, processes=1)
    (row,) = rows(folder / "index.csv")
    dataset = pydicom.dcmread(tmp_path / row["file"])
    assert dataset.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert (dataset.PatientID, dataset.PatientSex) == (row["patient_id"], row["sex"])
    assert int(dataset.PatientAge[:3]) == int(row["age"])
    assert dataset.ViewPosition == ("LL" if view is View.LATERAL else "PA")
    assert dataset.StudyDate == row["date"].replace("-", "")
    assert dataset.Manufacturer == row["manufacturer"]
    assert (dataset.PhotometricInterpretation, dataset.BitsAllocated, dataset.BitsStored) == ("MONOCHROME2", 16, 12)
    assert dataset.pixel_array.shape == (int(row["height"]), int(row["width"]))
    assert dataset.pixel_array.max() > 3500
    png = simulate_cohort(replace(spec, format="png"), tmp_path / "png", processes=1)
    eight_bit = grey(png.parent / rows(png / "index.csv")[0]["file"])
    assert np.abs(dataset.pixel_array / 4095 - eight_bit / 255).max() < 0.003


def test_sheets_show_a_cohort_before_and_after_it_is_written(lasting_cache: Path, cohort: Path, tmp_path: Path) -> None:
    spec = replace(SMALL, films=4)
    for what, path in ((spec, tmp_path / "spec.png"), (cohort, tmp_path / "folder.png")):
        draw_sheet(what, path)
        assert grey(path).std() > 20
    with pytest.raises(DataError, match="holds no simulated cohort"):
        draw_sheet(tmp_path / "nowhere", tmp_path / "x.png")


def test_the_specification_is_kept_with_the_films(cohort: Path) -> None:
    kept = json.loads((cohort / "cohort.json").read_text(encoding="utf-8"))
    assert kept["spec"]["seed"] == SMALL.seed
    assert kept["spec"]["labels"] == list(SMALL.labels)
