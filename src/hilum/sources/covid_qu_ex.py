"""COVID-QU-Ex (Qatar University, 2021): 33,920 films with lung masks, 2,913 of them with infection masks.

**Who and where.** Tahir, Chowdhury, Khandakar, Rahman, Qiblawey and colleagues; merged from QaTa-COV19, the COVID-19
Radiography Database, BIMCV, RSNA, PadChest and the Guangzhou children. **Counts**: COVID-19 11,956, non-COVID
infections (viral or bacterial) 11,263, normal 10,701; infection masks for 2,913 COVID-19 films. **Devices**, view,
sex, age and patient are not stated; 256 x 256 PNG.

**Labels**: COVID-19, Non-COVID (here `pneumonia`, cause not told per film), Normal. **Licence**: CC BY-SA 4.0 as
published on Kaggle. **Beware**: masks were drawn by a network and corrected, so agreement with them is not agreement
with a radiologist; class and origin coincide; children among the non-COVID films; patients unknown, so the published
train / val / test folders may share them. `covid_qu_ex_sample` is a pack of twelve of its films for a smoke test.

References:
    Tahir et al. COVID-19 infection localization and severity grading. Comput Biol Med 139:105002, 2021,
    doi 10.1016/j.compbiomed.2021.105002. Data: Kaggle anasmohammedtahir/covidqu, doi 10.34740/kaggle/dsv/3122958.
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import COVID19, NORMAL, PNEUMONIA, Radiograph
from hilum.sources.causes import Diagnosis, labels_of
from hilum.sources.classes import ClassFilm, class_films
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.pack import pack_source
from hilum.sources.tables import ImageIds, not_laid_out, one_folder

NAME = "covid_qu_ex"
CLASSES = {"COVID-19": COVID19, "Non-COVID": PNEUMONIA, "Normal": NORMAL}
PARTS = ("Lung Segmentation Data", "Infection Segmentation Data")
FOLDS = ("Train", "Val", "Test")
_LICENCE = "CC BY-SA 4.0 as published on Kaggle"
_CITATION = "Tahir et al. Comput Biol Med 139:105002, 2021, doi 10.1016/j.compbiomed.2021.105002"
_CAVEATS = (
    "masks drawn by a network and corrected by hand",
    "merged from bimcv_positive, radiography_database, rsna, padchest, kermany: never test across them",
    "no patient is named: the published folds may share patients",
    "children among the non-COVID films",
)

SHEET = Datasheet(
    name=NAME,
    title="COVID-QU-Ex",
    what="33,920 films of COVID-19, other infections and normal lungs with lung masks, part with infection masks.",
    who="Anas Tahir, Muhammad Chowdhury and colleagues, Qatar University",
    where="merged from public sets of many countries",
    devices="not stated",
    years="2021",
    counts={"films": 33920, "COVID-19": 11956, "Non-COVID": 11263, "Normal": 10701, "infection masks": 2913},
    views="not stated; frontal",
    labels=tuple(CLASSES.values()),
    licence=_LICENCE,
    citation=_CITATION,
    homepages=("https://www.kaggle.com/datasets/anasmohammedtahir/covidqu",),
    obtain=("download archive.zip from Kaggle (an account is needed)", "unzip it into DATA/covid_qu_ex"),
    layout="""
covid_qu_ex/
  Lung Segmentation Data/Lung Segmentation Data/
    Train/ Val/ Test/
      COVID-19/ Non-COVID/ Normal/
        images/*.png  lung masks/*.png
  Infection Segmentation Data/Infection Segmentation Data/
    ... and infection masks/*.png
""",
    caveats=_CAVEATS,
)

SAMPLE_SHEET = Datasheet(
    name="covid_qu_ex_sample",
    title="COVID-QU-Ex, twelve films",
    what="Four films of each class with lung and infection masks, for smoke tests.",
    who=SHEET.who,
    where=SHEET.where,
    devices="not stated",
    years="2021",
    counts={"films": 12, "COVID-19": 4, "Non-COVID": 4, "Normal": 4},
    views="frontal, PA or AP not stated",
    labels=SHEET.labels,
    licence=_LICENCE,
    citation=_CITATION,
    homepages=SHEET.homepages,
    obtain=("put the prepared pack at DATA/covid_qu_ex_sample (index.csv in it)",),
    layout="""
covid_qu_ex_sample/
  index.csv
  images/COVID-19/ Non-COVID/ Normal/
  masks/lungs/  masks/infection/
""",
    caveats=("twelve films: a smoke test, never a result", *_CAVEATS),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of both parts; part and fold are attributes, an infection mask's path too."""
    tops = [(part, one_folder(root, f"{part}/{part}", part)) for part in PARTS]
    if not any(top for _, top in tops):
        raise not_laid_out(NAME, root, f"folder {' or '.join(PARTS)}")
    ids = ImageIds(NAME)
    for part, top in tops:
        for fold in FOLDS:
            if top is not None and (top / fold).is_dir():
                for film in class_films(NAME, root, top / fold, CLASSES):
                    yield _radiograph(film, part, fold, ids)


def _radiograph(film: ClassFilm, part: str, fold: str, ids: ImageIds) -> Radiograph:
    notes = ["view, patient, sex and age are not stated"]
    beside = film.path.parent.parent
    mask, infection = beside / "lung masks" / film.path.name, beside / "infection masks" / film.path.name
    label = CLASSES[film.folder]
    attributes = {"part": part, "fold": fold} | ({"infection_mask": str(infection)} if infection.is_file() else {})
    return Radiograph(
        image_id=ids.of(f"{part.split()[0].lower()}/{fold}/{film.folder}/{film.path.stem}", film.place.as_posix()),
        source=NAME,
        path=film.path,
        labels=labels_of(Diagnosis(label, cause_stated=label != PNEUMONIA), notes, classes=SHEET.labels),
        label_original=film.folder,
        licence=SHEET.licence,
        lung_mask=mask if mask.is_file() else None,
        attributes=attributes,
        notes=tuple(notes),
    )


SOURCE = Source(sheet=SHEET, read=read)
SAMPLE = pack_source(SAMPLE_SHEET)
