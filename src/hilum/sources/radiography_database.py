"""COVID-19 Radiography Database (Qatar University, University of Dhaka; 2020-2021), first and current edition.

**Who and where.** Chowdhury, Rahman, Khandakar and colleagues merged public sets into one download. COVID films come
from BIMCV COVID-19+ (2,473), Hannover (183), SIRM, the collection of Cohen et al., Eurorad, COVID-CXNet; normal films
from RSNA (8,851) and the Guangzhou children (1,341); lung opacity from RSNA (6,012); viral pneumonia from the
Guangzhou children (1,345). **Counts**: first edition COVID-19 219, normal 1,341, viral pneumonia 1,345; current
edition COVID 3,616, lung opacity 6,012, normal 10,192, viral pneumonia 1,345, together 21,165 with lung masks.
**Devices**, sex, age, view and patient are not stated; films are 299 x 299 (first edition 1024 x 1024), masks
256 x 256. A workbook per class gives file name and source address; the address is kept as the attribute `url`.

**Licence**: not stated by the authors beyond the request to cite; origins keep theirs. **Beware**: class and origin
coincide largely (every viral film is a child's), the same film can sit in this set and in its origins, patients are
unknown, so a random split leaks.

References:
    Chowdhury et al. Can AI help in screening viral and COVID-19 pneumonia? IEEE Access 8:132665, 2020,
    doi 10.1109/ACCESS.2020.3010287.
    Rahman et al. Comput Biol Med 132:104319, 2021, doi 10.1016/j.compbiomed.2021.104319.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, NORMAL, VIRAL_PNEUMONIA, Radiograph
from hilum.sources.causes import Diagnosis, labels_of
from hilum.sources.classes import ClassFilm, class_films
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import snake
from hilum.sources.tables import ImageIds, not_laid_out, one_folder, read_workbook

NAME = "radiography_database"
LUNG_OPACITY = "lung_opacity"
FIRST = {"COVID-19": COVID19, "NORMAL": NORMAL, "Viral Pneumonia": VIRAL_PNEUMONIA}
CURRENT = {"COVID": COVID19, "Lung_Opacity": LUNG_OPACITY, "Normal": NORMAL, "Viral Pneumonia": VIRAL_PNEUMONIA}

SHEET = Datasheet(
    name=NAME,
    title="COVID-19 Radiography Database",
    what="21,165 films merged from public sets in four classes, with lung masks (first edition: 2,905 in three).",
    who="Qatar University and University of Dhaka, with collaborators in Pakistan and Malaysia",
    where="merged from Spain, Germany, Italy, the USA, China and web cases",
    devices="not stated",
    years="2020 to 2021",
    counts={
        "films": 21165,
        "COVID": 3616,
        "Lung_Opacity": 6012,
        "Normal": 10192,
        "Viral Pneumonia": 1345,
        "first edition COVID-19": 219,
        "first edition NORMAL": 1341,
        "first edition Viral Pneumonia": 1345,
    },
    views="not stated; mostly frontal, some lateral",
    labels=(NORMAL, COVID19, VIRAL_PNEUMONIA, LUNG_OPACITY),
    licence="not stated by the authors; citation asked for, origins keep their own",
    citation="Chowdhury et al. IEEE Access 8:132665, 2020; Rahman et al. Comput Biol Med 132:104319, 2021",
    homepages=("https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",),
    obtain=(
        "download archive.zip from Kaggle (an account is needed)",
        "unzip it into DATA/radiography_database",
    ),
    layout="""
radiography_database/
  COVID-19_Radiography_Dataset/
    COVID/          images/*.png  masks/*.png
    Lung_Opacity/   images/*.png  masks/*.png
    Normal/         images/*.png  masks/*.png
    Viral Pneumonia/ images/*.png masks/*.png
    COVID.metadata.xlsx ...

first edition:
  COVID-19 Radiography Database/
    COVID-19/*.png  NORMAL/*.png  Viral Pneumonia/*.png  COVID-19.metadata.xlsx ...
""",
    caveats=(
        "class and origin coincide: viral films are children's, lung opacity is RSNA's, COVID is mostly BIMCV's",
        "contains films of bimcv_positive, hannover, sirm, covid_chestxray, rsna and kermany: never test across them",
        "no patient is named: any split can put one patient on both sides",
        "lung opacity means a non-COVID opacity, cause unstated; it is not assessed in the first edition",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of whichever edition lies there; the edition is an attribute."""
    top = one_folder(root, "COVID-19_Radiography_Dataset", "COVID-19 Radiography Database", "") or root
    if (top / "COVID-19").is_dir():
        return _edition("first", FIRST, root, top)
    if any((top / folder / "images").is_dir() for folder in CURRENT):
        return _edition("current", CURRENT, root, top)
    raise not_laid_out(NAME, root, "folder COVID/images (current edition) or COVID-19 (first edition)")


def _edition(edition: str, folders: Mapping[str, str], root: Path, top: Path) -> Iterator[Radiograph]:
    addresses = {folder: _addresses(top, folder) for folder in folders}
    ids = ImageIds(NAME)
    for film in class_films(NAME, root, top, folders):
        address = addresses[film.folder].get(_key(film.path.stem), "")
        attributes = {"edition": edition} | ({"url": address} if address else {})
        yield _radiograph(film, folders, attributes, ids)


def _addresses(top: Path, folder: str) -> dict[str, str]:
    """Source address by film, from the workbook of a class; empty where there is no workbook."""
    for table in (top / f"{folder}.metadata.xlsx", top / f"{folder.replace('_', ' ')}.metadata.xlsx"):
        if table.is_file():
            rows = [{snake(name): cell for name, cell in row.items()} for row in read_workbook(table)]
            return {_key(row.get("file_name", "")): row.get("url", "") for row in rows}
    return {}


def _key(stem: str) -> str:
    """Workbooks write COVID-1 and COVID (1), NORMAL-1 and Normal-1 for one film."""
    return snake(Path(stem).name.removesuffix(".png"))


def _radiograph(
    film: ClassFilm, folders: Mapping[str, str], attributes: Mapping[str, str], ids: ImageIds
) -> Radiograph:
    notes = ["view, patient, sex and age are not stated"]
    mask = film.path.parent.parent / "masks" / film.path.name
    return Radiograph(
        image_id=ids.of(film.path.stem, film.place.as_posix()),
        source=NAME,
        path=film.path,
        labels=labels_of(Diagnosis(folders[film.folder]), notes, classes=tuple(folders.values())),
        label_original=film.folder,
        lung_mask=mask if mask.is_file() else None,
        attributes=attributes,
        notes=tuple(notes),
    )


SOURCE = Source(sheet=SHEET, read=read)
