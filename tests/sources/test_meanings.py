"""What single data sets mean by their columns, file names and folders, where it is easily taken for something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.records import Radiograph, View
from hilum.sources import find_source, read_source

ByStem = Callable[[str], dict[str, Radiograph]]
Writer = Callable[..., None]


def test_kermany_cause_and_patient_come_from_the_name(by_stem: ByStem) -> None:
    films = by_stem("kermany")
    bacterial = films["person1_bacteria_1"]
    assert bacterial.patient_id == films["person1_virus_6"].patient_id == "person1"
    assert bacterial.labels == {
        "normal": False,
        "bacterial_pneumonia": True,
        "viral_pneumonia": False,
        "covid19": False,
    }
    assert bacterial.view is View.AP
    assert bacterial.age_years is None


def test_kermany_contradiction_and_silence_are_noted_not_guessed(by_stem: ByStem) -> None:
    films = by_stem("kermany")
    contradicted, silent = films["person9_bacteria_1"], films["unnamed"]
    assert contradicted.labels == {"covid19": False}
    assert any("contradict" in note or "file name says" in note for note in contradicted.notes)
    assert silent.labels == {"normal": False, "covid19": False}
    assert silent.patient_id is None


def test_chexpert_uncertain_is_not_assessed_and_no_finding_excludes_pathologies(by_stem: ByStem) -> None:
    films = by_stem("chexpert")
    frontal, lateral = films["view1_frontal"], films["view2_lateral"]
    assert frontal.labels == {"edema": True, "support_devices": False, "normal": False, "covid19": False}
    assert "pneumonia is uncertain in the report" in frontal.notes
    assert (frontal.view, frontal.sex, frontal.patient_id) == (View.AP, "F", "patient00001")
    assert lateral.labels["normal"] is True
    assert lateral.labels["pneumonia"] is False
    assert "support_devices" not in lateral.labels
    assert (lateral.view, lateral.sex) == (View.LATERAL, None)


def test_nih_findings_are_a_closed_list(by_stem: ByStem) -> None:
    films = by_stem("nih")
    sick, well = films["00000001_000"], films["00000002_000"]
    assert {label for label, here in sick.labels.items() if here} == {"cardiomegaly", "pleural_effusion"}
    assert {label for label, here in well.labels.items() if here} == {"normal"}
    assert len(well.labels) == 16
    assert well.age_years is None
    assert "age is beyond a human lifetime" in well.notes
    assert well.attributes["fold"] == "test"
    assert well.attributes["Patient Age"] == "414"


def test_rsna_reads_a_film_once_and_its_patient_from_the_mapping(by_stem: ByStem) -> None:
    films = by_stem("rsna")
    assert films["aa"].labels == {"lung_opacity": True, "normal": False, "covid19": False}
    assert films["aa"].attributes["boxes"] == "2"
    assert films["aa"].patient_id == "13"
    assert films["bb"].labels["normal"] is True
    assert films["bb"].patient_id is None
    assert films["cc"].labels == {"lung_opacity": False, "normal": False, "covid19": False}


def test_rsna_tables_that_contradict_each_other_give_no_label(
    tmp_path: Path, table: Writer, miniatures: dict[str, Any]
) -> None:
    miniatures["rsna"].build(tmp_path / "rsna")
    table(tmp_path / "rsna/stage_2_detailed_class_info.csv", "patientId|class", "aa|Normal")
    films = {film_.path.stem: film_ for film_ in read_source("rsna", tmp_path)}
    assert films["aa"].labels == {"covid19": False}
    assert any("contradict" in note for note in films["aa"].notes)
    assert films["bb"].labels == {"lung_opacity": False, "covid19": False}, "normal is unassessed without its table"


def test_padchest_terms_become_labels_and_unchanged_becomes_none(by_stem: ByStem) -> None:
    films = by_stem("padchest")
    sick = films["a"]
    assert {label for label, here in sick.labels.items() if here} == {"pneumonia", "pleural_effusion", "scoliosis"}
    assert sick.labels["pneumothorax"] is False
    assert "scoliosis" not in films["b"].labels
    assert films["b"].labels["normal"] is True
    assert films["b"].view is View.AP
    assert films["c"].labels == {}
    assert sick.age_years == 84
    assert "Report" not in sick.attributes


def test_bimcv_label_is_the_patients_test_and_the_report_gives_findings(by_stem: ByStem) -> None:
    positive, lateral = by_stem("bimcv_positive").values()
    assert positive.labels["covid19"] is True
    assert positive.labels["pneumonia"] is True
    assert "covid_19" not in positive.labels
    assert positive.attributes["first_positive_test"] == "2020-04-03"
    assert str(positive.acquired) == "2020-04-01"
    assert positive.age_years == 79
    assert lateral.view is View.LATERAL
    negative = next(iter(by_stem("bimcv_negative").values()))
    assert negative.labels["covid19"] is False


def test_actualmed_no_finding_means_no_covid_and_not_normal(by_stem: ByStem) -> None:
    films = by_stem("actualmed")
    assert films["CR.1"].labels == {"covid19": True}
    assert films["CR.2"].labels == {"covid19": False}
    assert films["DX.3"].labels == {}
    assert str(films["CR.1"].acquired) == "2020-03-18"


def test_figure1_is_latin_1_and_a_letter_is_a_film_of_the_same_patient(by_stem: ByStem) -> None:
    films = by_stem("figure1")
    assert {film_.patient_id for film_ in films.values()} == {"COVID-00013"}
    assert films["COVID-00013a"].attributes["notes"] == "Fever 38\u00b0"
    assert films["COVID-00013a"].age_years is None
    assert films["COVID-00013b"].labels == {}


def test_brixia_scores_regain_their_leading_zeros_and_are_checked(by_stem: ByStem) -> None:
    films = by_stem("brixia")
    zones = [films["1"].attributes[f"brixia_{zone}"] for zone in "abcdef"]
    assert zones == ["0", "0", "0", "0", "1", "1"]
    assert any("do not add up" in note for note in films["2"].notes)


def test_radiography_database_editions_masks_and_origins(by_stem: ByStem, tmp_path: Path, film: Writer) -> None:
    films = by_stem("radiography_database")
    covid = films["COVID-1"]
    assert covid.lung_mask is not None
    assert covid.attributes == {"edition": "current", "url": "https://sirm.org/case"}
    assert films["Lung_Opacity-1"].labels == {
        "covid19": False,
        "lung_opacity": True,
        "normal": False,
        "viral_pneumonia": False,
    }
    first = tmp_path / "v1/radiography_database/COVID-19 Radiography Database"
    film(first / "COVID-19/COVID-19 (1).png")
    film(first / "NORMAL/NORMAL (1).png")
    covid, normal = read_source("radiography_database", tmp_path / "v1")
    assert "lung_opacity" not in normal.labels
    assert (covid.labels["covid19"], covid.attributes["edition"]) == (True, "first")


def test_a_damaged_workbook_costs_the_origin_and_not_the_films(tmp_path: Path, miniatures: dict[str, Any]) -> None:
    miniatures["radiography_database"].build(tmp_path / "radiography_database")
    (tmp_path / "radiography_database/COVID-19_Radiography_Dataset/COVID.metadata.xlsx").write_bytes(b"no archive")
    assert len(list(read_source("radiography_database", tmp_path))) == 4


def test_sandrofab_film_in_the_wrong_folder_has_no_diagnosis(
    tmp_path: Path, film: Writer, miniatures: dict[str, Any]
) -> None:
    miniatures["sandrofab"].build(tmp_path / "sandrofab")
    film(tmp_path / "sandrofab/dataset_for_classification/VIRAL/person7_bacteria_8.jpeg")
    films = {film_.path.stem: film_ for film_ in read_source("sandrofab", tmp_path)}
    assert films["person7_bacteria_8"].labels == {}
    assert films["lancet-case2a"].labels["covid19"] is True
    assert films["lancet-case2a"].view is View.PA
    collections = {
        label: {film_.attributes.get("collection") for film_ in films.values() if film_.label_original == label}
        for label in ("COVID", "NORMAL")
    }
    assert collections == {"COVID": {"covid_chestxray"}, "NORMAL": {"kermany"}}
    assert "collection" not in films["person7_bacteria_8"].attributes


def test_covid_qu_ex_unstated_cause_leaves_viral_and_bacterial_open(tmp_path: Path, miniatures: dict[str, Any]) -> None:
    miniatures["covid_qu_ex"].build(tmp_path / "covid_qu_ex")
    films = list(read_source("covid_qu_ex", tmp_path))
    other = next(film_ for film_ in films if film_.label_original == "Non-COVID")
    assert other.labels == {"covid19": False, "pneumonia": True, "normal": False}
    assert sum("infection_mask" in film_.attributes for film_ in films) == 1
    assert all(film_.lung_mask is not None for film_ in films)


def test_films_not_downloaded_are_still_listed_with_their_place(tmp_path: Path, miniatures: dict[str, Any]) -> None:
    miniatures["nih"].build(tmp_path / "nih")
    (tmp_path / "nih/images_002/images/00000002_000.png").unlink()
    absent = list(read_source("nih", tmp_path))[1]
    assert absent.path == tmp_path / "nih/images/00000002_000.png"
    assert not absent.path.exists()


@pytest.mark.parametrize(
    ("address", "name"),
    [("https://www.eurorad.org/case/1", "eurorad.org"), ("https://radiopaedia.org/cases/2", "radiopaedia.org"),
     ("http://[bad", None), ("no address", None), ("", None)],
    ids=["with www", "without", "broken", "words", "none"],
)  # fmt: skip
def test_covid_chestxray_films_name_the_site_they_were_published_on(address: str, name: str | None) -> None:
    record = Radiograph(image_id="a", source="covid_chestxray", path=Path("a.png"), attributes={"url": address})
    assert find_source("covid_chestxray").collection_of(record) == name
