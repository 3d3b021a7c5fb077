"""NIH ChestX-ray14 (2017): 112,120 frontal films with fourteen findings mined from reports; and a small subset.

**Who and where.** Wang, Peng, Lu, Lu, Bagheri, Summers; NIH Clinical Center, Bethesda, USA, 1992 to 2015. **Counts**:
112,120 PA and AP films of 30,805 patients, 1024 x 1024 8-bit PNG; No Finding 60,361, Infiltration 19,894, Effusion
13,317, Atelectasis 11,559, Nodule 6,331, Mass 5,782, Pneumothorax 5,302, Consolidation 4,667, Pleural_Thickening
3,385, Cardiomegaly 2,776, Emphysema 2,516, Edema 2,303, Fibrosis 1,686, Pneumonia 1,431, Hernia 227. BBox_List_2017
gives 984 boxes on 880 films. **Devices** not stated.

**Labels**: the list is closed, so a finding that is not named is False; `normal` is "No Finding", which means none of
the fourteen and not more. Effusion is called `pleural_effusion` here. **Licence**: free use with attribution to the
NIH Clinical Center and Wang et al. **Beware**: mined labels are noisy (pneumonia above all); ages beyond 120 in
sixteen rows; drains are common in films with pneumothorax; many films of a patient.

`nih_subset` is a pack of 120 pneumonia and 120 normal films of it, as re-used by Ozturk et al. 2020.

References:
    Wang et al. ChestX-ray8. CVPR 2017, doi 10.1109/CVPR.2017.369.
    Ozturk et al. Comput Biol Med 121:103792, 2020, doi 10.1016/j.compbiomed.2020.103792.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, NORMAL, PNEUMONIA, Radiograph
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, rest_of, sex_of, snake, view_of
from hilum.sources.pack import pack_source
from hilum.sources.tables import ImageIds, films_under, not_laid_out, read_rows

NAME = "nih"
COUNTS = {
    "No Finding": 60361,
    "Atelectasis": 11559,
    "Cardiomegaly": 2776,
    "Consolidation": 4667,
    "Edema": 2303,
    "Effusion": 13317,
    "Emphysema": 2516,
    "Fibrosis": 1686,
    "Hernia": 227,
    "Infiltration": 19894,
    "Mass": 5782,
    "Nodule": 6331,
    "Pleural_Thickening": 3385,
    "Pneumonia": 1431,
    "Pneumothorax": 5302,
}
LABELS = {
    finding: {"No Finding": NORMAL, "Effusion": "pleural_effusion"}.get(finding, snake(finding)) for finding in COUNTS
}
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_LICENCE = "free use with attribution to the NIH Clinical Center and Wang et al. 2017"
_CITATION = "Wang et al. CVPR 2017, doi 10.1109/CVPR.2017.369"

SHEET = Datasheet(
    name=NAME,
    title="NIH ChestX-ray14",
    what="112,120 frontal films of 30,805 patients with fourteen findings mined from reports.",
    who="Xiaosong Wang, Ronald Summers and colleagues, National Institutes of Health",
    where="NIH Clinical Center, Bethesda, USA",
    devices="not stated",
    years="1992 to 2015",
    counts={"films": 112120, "patients": 30805} | COUNTS,
    views="PA and AP",
    labels=(*LABELS.values(), COVID19),
    known_absent=(COVID19,),
    licence=_LICENCE,
    citation=_CITATION,
    homepages=("https://nihcc.app.box.com/v/ChestXray-NIHCC", "https://www.kaggle.com/datasets/nih-chest-xrays/data"),
    obtain=(
        "download images_001.tar.gz to images_012.tar.gz (42 GB) and Data_Entry_2017_v2020.csv from the NIH box",
        "unpack everything into DATA/nih",
    ),
    layout="""
nih/
  Data_Entry_2017_v2020.csv   or Data_Entry_2017.csv
  images/*.png                or images_001/images/*.png to images_012/images/*.png
  train_val_list.txt  test_list.txt   optional; kept as the attribute fold
""",
    caveats=(
        "labels are mined from reports and noisy; No Finding means none of the fourteen, not normal",
        "treated disease: drains and tubes mark pneumothorax and intensive care",
        "the films of rsna are a subset of these, under other names",
        "ages beyond a lifetime occur",
    ),
)

SUBSET_SHEET = Datasheet(
    name="nih_subset",
    title="NIH ChestX-ray14, 240 films",
    what="120 pneumonia and 120 normal films of ChestX-ray14, adults, with 32 boxes.",
    who="National Institutes of Health; chosen by Tulin Ozturk, Muhammed Talo and colleagues",
    where="NIH Clinical Center, Bethesda, USA",
    devices="not stated",
    years="1992 to 2015",
    counts={"films": 240, "pneumonia": 120, "normal": 120},
    views="AP 139, PA 101",
    labels=(NORMAL, PNEUMONIA, COVID19),
    known_absent=(COVID19,),
    licence=_LICENCE,
    citation=f"{_CITATION}; Ozturk et al. Comput Biol Med 121:103792, 2020",
    homepages=("https://github.com/muhammedtalo/COVID-19",),
    obtain=("put the prepared pack at DATA/nih_subset (index.csv in it)",),
    layout="""
nih_subset/
  index.csv
  images/pneumonia/*.jpg  images/normal/*.jpg
  boxes.csv
""",
    caveats=("as nih: mined, noisy labels", "pneumonia of whatever cause; no COVID-19, by date"),
)

_USED = frozenset({"Image Index", "Finding Labels", "Patient ID", "Patient Gender", "View Position"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of the table; a row whose film was not downloaded points at where it would lie."""
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise not_laid_out(NAME, root, f"table {' or '.join(TABLES)}")
    films = {path.name: path for path in films_under(root)}
    folds = _folds(root)
    ids = ImageIds(NAME)
    for row in read_rows(table, required=("Image Index", "Finding Labels")):
        name = row["Image Index"]
        yield _radiograph(row, films.get(name, root / "images" / name), folds.get(name), ids)


def _folds(root: Path) -> dict[str, str]:
    folds: dict[str, str] = {}
    for fold, listed in (("train_val", "train_val_list.txt"), ("test", "test_list.txt")):
        if (root / listed).is_file():
            folds |= dict.fromkeys((root / listed).read_text(encoding="utf-8").split(), fold)
    return folds


def _radiograph(row: Mapping[str, str], path: Path, fold: str | None, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    return Radiograph(
        image_id=ids.of(path.stem, path.name),
        source=NAME,
        path=path,
        labels=_labels(row["Finding Labels"], notes),
        label_original=row["Finding Labels"] or None,
        view=view_of(row.get("View Position"), notes),
        view_detail=row.get("View Position") or None,
        patient_id=row.get("Patient ID") or None,
        sex=sex_of(row.get("Patient Gender"), notes),
        age_years=age_of(row.get("Patient Age"), notes),
        attributes=rest_of(row, _USED) | ({"fold": fold} if fold else {}),
        notes=tuple(notes),
    )


def _labels(findings: str, notes: list[str]) -> dict[str, bool]:
    named = [finding.strip() for finding in findings.split("|") if finding.strip()]
    unknown = [finding for finding in named if finding not in LABELS]
    if not named or unknown:
        notes.append("the findings are blank" if not named else "a finding is none of the fourteen")
        return {}
    if len(named) > 1 and "No Finding" in named:
        notes.append("the film is listed with findings and with none; left without labels")
        return {}
    labels = {label: finding in named for finding, label in LABELS.items()}
    return labels | dict.fromkeys(SHEET.known_absent, False)


SOURCE = Source(sheet=SHEET, read=read)
SUBSET = pack_source(SUBSET_SHEET)
