"""Miniatures of every published layout, written by the tests themselves; their films are no pictures."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hilum.records import Radiograph
from hilum.sources import read_source


def film(path: Path) -> None:
    """A file no decoder would take: a reader that opened pixels would fail on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not a picture")


def table(path: Path, header: str, *rows: str, delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([header, *rows]).replace("|", delimiter) + "\n"
    path.write_text(text, encoding="utf-8")


def workbook(path: Path, *rows: tuple[str, ...]) -> None:
    """A workbook as Excel writes it: texts shared, numbers inline."""
    texts = sorted({cell for row in rows for cell in row})
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    cells = "".join(
        f'<row r="{r}">'
        + "".join(f'<c r="{"ABCD"[c]}{r}" t="s"><v>{texts.index(cell)}</v></c>' for c, cell in enumerate(row))
        + "</row>"
        for r, row in enumerate(rows, start=1)
    )
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    with zipfile.ZipFile(path, "w") as parts:
        parts.writestr("xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{cells}</sheetData></worksheet>")
        parts.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")


PACK_HEADER = "image_id|file|label|label_std|view|projection|age|sex|lung_mask"


def pack(root: Path, *labels: str) -> None:
    rows = []
    for number, label in enumerate(labels):
        name = f"images/{label}_{number}.png"
        film(root / name)
        rows.append(f"{root.name}__{label}_{number}|{root.name}/{name}|{label}|{label}|PA|frontal|40|F|")
    table(root / "index.csv", PACK_HEADER, *rows)


def cohen(root: Path) -> None:
    table(
        root / "metadata.csv",
        "patientid|sex|age|finding|view|modality|date|folder|filename|",
        "2|M|65|Pneumonia/Viral/COVID-19|PA|X-ray|2020|images|a.jpeg|",
        "3|F|nan|todo|AP Supine|X-ray||images|b.png|",
    )
    film(root / "images/a.jpeg")
    film(root / "images/b.png")


def actualmed(root: Path) -> None:
    note = '"%s, date taken (YYYYMMDD): 20200318"'
    table(
        root / "metadata.csv",
        "patientid|sex|finding|view|modality|imagename|notes",
        f"ANON1||COVID-19|PA|X-ray|CR.1.png|{note % ''}",
        f"ANON2||No finding|AP|X-ray|CR.2.png|{note % 'Negative'}",
        f"ANON3|||AP|X-ray|DX.3.png|{note % 'Inconclusive'}",
    )
    for name in ("CR.1.png", "CR.2.png", "DX.3.png"):
        film(root / "images" / name)


def figure1(root: Path) -> None:
    root.mkdir(parents=True)
    rows = [
        "patientid,sex,age,finding,view,modality,notes",
        "COVID-00013a,F,50+,COVID-19,AP erect,X-ray,Fever 38\u00b0",
    ]
    (root / "metadata.csv").write_bytes("\n".join([*rows, "COVID-00013b,,60,,,X-ray,"]).encode("latin-1"))
    film(root / "images/COVID-00013a.png")
    film(root / "images/COVID-00013b.jpg")


def hannover(root: Path) -> None:
    header = "patient_id|image_id|sex|age|admission_offset|modality|projection"
    table(root / "data.csv", header, "042f|b343|m|||CR|ap", "042f|c928|m||-2|DX|pa")
    film(root / "png/b343.png")
    film(root / "png/c928.png")


def chexpert(root: Path) -> None:
    table(
        root / "CheXpert-v1.0-small/train.csv",
        "Path|Sex|Age|Frontal/Lateral|AP/PA|No Finding|Edema|Pneumonia|Support Devices",
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg|Female|68|Frontal|AP||1.0|-1.0|0.0",
        "CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg|Unknown|0|Lateral||1.0|||",
    )
    film(root / "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg")
    film(root / "CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg")


def nih(root: Path) -> None:
    table(
        root / "Data_Entry_2017.csv",
        "Image Index|Finding Labels|Follow-up #|Patient ID|Patient Age|Patient Gender|View Position|",
        "00000001_000.png|Cardiomegaly;Effusion|0|1|58|M|PA|",
        "00000002_000.png|No Finding|0|2|414|F|AP|",
    )
    text = (root / "Data_Entry_2017.csv").read_text().replace(";", "|")
    (root / "Data_Entry_2017.csv").write_text(text)
    (root / "test_list.txt").write_text("00000002_000.png\n")
    film(root / "images_001/images/00000001_000.png")
    film(root / "images_002/images/00000002_000.png")


def rsna(root: Path) -> None:
    table(
        root / "stage_2_train_labels.csv",
        "patientId|x|y|width|height|Target",
        "aa|264|152|213|379|1",
        "aa|562|152|256|453|1",
        "bb|||||0",
        "cc|||||0",
    )
    classes = ("aa|Lung Opacity", "aa|Lung Opacity", "bb|Normal", "cc|No Lung Opacity / Not Normal")
    table(root / "stage_2_detailed_class_info.csv", "patientId|class", *classes)
    origins = [{"subset_img_id": "aa", "img_id": "00000013_005.png"}]
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(origins))
    for name in ("aa", "bb", "cc"):
        film(root / f"stage_2_train_images/{name}.dcm")


def padchest(root: Path) -> None:
    table(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        "|ImageID|ImageDir|StudyDate_DICOM|PatientID|PatientBirth|PatientSex_DICOM|Projection|Labels|Report",
        "0|a.png|0|20140915|p1|1930.0|F|PA|\"['pneumonia', ' pleural effusion', 'scoliosis']\"|texto",
        "1|b.png|36|20150101|p2|1980.0|M|AP_horizontal|\"['normal']\"|texto",
        "2|c.png|36|20150102|p2|1980.0|M|L|\"['unchanged']\"|texto",
    )
    for place in ("0/a.png", "36/b.png", "36/c.png"):
        film(root / "images" / place)


def bimcv(folder: str, sign: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        top = root / folder
        subject, session = "sub-S03044", "ses-E06167"
        rows = (f"{subject}|['CR']|[['CHEST']]|[79, 80]|M", "derivatives||||")
        table(top / "participants.tsv", "participant|modality_dicom|body_parts|age|gender", *rows, delimiter="\t")
        header, row = "session_id|study_date|medical_evaluation", f"{session}|20200401|x"
        table(top / subject / f"{subject}_sessions.tsv", header, row, delimiter="\t")
        labels = f"0|S03044|{session}|texto|['COVID 19', 'pneumonia']"
        where = top / f"derivatives/labels/labels_covid_{sign}.tsv"
        table(where, "|PatientID|ReportID|Report|Labels", labels, delimiter="\t")
        tests = (f"{subject}|30.03.2020|PCR|NEGATIVO", f"{subject}|03.04.2020|PCR|POSITIVO")
        where = top / f"derivatives/EHR/sil_reg_covid_{sign}.tsv"
        table(where, "participant|date|test|result", *tests, delimiter="\t")
        for name in ("run-1_bp-chest_vp-ap_cr.png", "run-2_bp-chest_vp-ll_dx.png"):
            film(top / subject / session / "mod-rx" / f"{subject}_{session}_{name}")

    return build


def brixia(root: Path) -> None:
    table(
        root / "metadata_global_v2.csv",
        "Filename|BrixiaScore|BrixiaScoreGlobal|ConsensusTestset|Modality|Manufacturer|Sex|AgeAtStudyDateFiveYear|Subject",
        "1.dcm|11|2|0|CR|KODAK|M|65|7",
        "2.dcm|333333|17|1|DX|SIEMENS|F|70|8",
        delimiter=";",
    )
    film(root / "dicom_clean/1.dcm")
    film(root / "dicom_clean/2.dcm")


def covid_seg(root: Path) -> None:
    header = "patientid|finding|view|modality|filename"
    table(root / "metadata.csv", header, "3|Pneumonia/Viral/SARS|AP|X-ray|a.jpg", "4|COVID-19|PA|X-ray|absent.png")
    film(root / "images/a.jpg")
    film(root / "images/a.png")
    film(root / "masks/032d7a0e_2A8c2Y.png")


def covid_qu_ex(root: Path) -> None:
    lung = root / "Lung Segmentation Data/Lung Segmentation Data/Train"
    infection = root / "Infection Segmentation Data/Infection Segmentation Data/Train"
    for top, folder, stem in (
        (lung, "COVID-19", "covid_1"),
        (lung, "Non-COVID", "non_COVID (1)"),
        (lung, "Normal", "Normal (1)"),
        (infection, "COVID-19", "covid_1"),
    ):
        film(top / folder / f"images/{stem}.png")
        film(top / folder / f"lung masks/{stem}.png")
    film(infection / "COVID-19/infection masks/covid_1.png")


def radiography_database(root: Path) -> None:
    top = root / "COVID-19_Radiography_Dataset"
    for folder in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        film(top / folder / f"images/{folder}-1.png")
    film(top / "COVID/masks/COVID-1.png")
    header = ("FILE NAME", "FORMAT", "SIZE", "URL")
    workbook(top / "COVID.metadata.xlsx", header, ("COVID-1", "PNG", "256*256", "https://sirm.org/case"))


def kermany(root: Path) -> None:
    for place in (
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/person9_bacteria_1.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "test/PNEUMONIA/person1_virus_6.jpeg",
        "val/PNEUMONIA/unnamed.jpeg",
    ):
        film(root / "chest_xray" / place)


def sandrofab(root: Path) -> None:
    names = {
        "BACTERIA": "person1_bacteria_2",
        "COVID": "lancet-case2a",
        "NORMAL": "IM-0119-0001",
        "VIRAL": "person1_virus_6",
    }
    for folder, stem in names.items():
        film(root / "dataset_for_classification" / folder / f"{stem}.jpeg")


def rovai(root: Path) -> None:
    for place in (
        "covid_validation/7C69C012.jpeg",
        "normal_validation/IM-0131-0001.jpeg",
        "non_covid_pneumonia_validation/person478_virus_975.jpeg",
        "non_covid_pneumonia_validation/person2_bacteria_3.jpeg",
    ):
        film(root / "dataset_validation" / place)


def sirm(root: Path) -> None:
    film(root / "case-1/rx.jpg")
    film(root / "case-2/rx.jpg")


@dataclass(frozen=True)
class Miniature:
    """How to build one, the films it has, and the columns its tables cannot do without."""

    build: Callable[[Path], None]
    films: int
    required: tuple[str, ...] = ()


_PACKED = ("file", "label_std")
MINIATURES = {
    "actualmed": Miniature(actualmed, 3, ("imagename", "finding")),
    "bimcv_negative": Miniature(bimcv("covid19_neg", "neg"), 2, ("participant", "ReportID")),
    "bimcv_positive": Miniature(bimcv("covid19_posi", "posi"), 2, ("participant", "ReportID")),
    "brixia": Miniature(brixia, 2, ("Filename",)),
    "chexpert": Miniature(chexpert, 2, ("Path",)),
    "covid_chestxray": Miniature(cohen, 2, ("finding", "filename")),
    "covid_qu_ex": Miniature(covid_qu_ex, 4),
    "covid_qu_ex_sample": Miniature(lambda root: pack(root, "covid19", "pneumonia", "normal"), 3, _PACKED),
    "covid_seg": Miniature(covid_seg, 2, ("finding", "filename")),
    "dicom_samples": Miniature(lambda root: pack(root, ""), 1, ("file",)),
    "figure1": Miniature(figure1, 2, ("patientid", "finding")),
    "hannover": Miniature(hannover, 2, ("patient_id", "image_id")),
    "kermany": Miniature(kermany, 5),
    "nih": Miniature(nih, 2, ("Image Index", "Finding Labels")),
    "nih_subset": Miniature(lambda root: pack(root, "pneumonia", "normal"), 2, _PACKED),
    "padchest": Miniature(padchest, 3, ("ImageID", "ImageDir", "Labels")),
    "radiography_database": Miniature(radiography_database, 4),
    "rovai": Miniature(rovai, 4),
    "rsna": Miniature(rsna, 3, ("patientId", "Target", "class")),
    "sandrofab": Miniature(sandrofab, 4),
    "simulated": Miniature(lambda root: pack(root, "covid19", "normal", "viral_pneumonia"), 3, _PACKED),
    "sirm": Miniature(sirm, 2),
}


@pytest.fixture(scope="session")
def miniatures() -> dict[str, Miniature]:
    return MINIATURES


@pytest.fixture
def built(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a source and a folder that holds its miniature."""
    MINIATURES[request.param].build(tmp_path / request.param)
    return request.param, tmp_path


@pytest.fixture(name="film")
def film_writer() -> Callable[[Path], None]:
    return film


@pytest.fixture(name="table")
def table_writer() -> Callable[..., None]:
    return table


@pytest.fixture
def by_stem(tmp_path: Path) -> Callable[[str], dict[str, Radiograph]]:
    """Writes a source's miniature and reads it: films by the stem of their file."""

    def read(name: str) -> dict[str, Radiograph]:
        MINIATURES[name].build(tmp_path / name)
        return {record.path.stem: record for record in read_source(name, tmp_path)}

    return read
