"""COVID-19 chest X-ray segmentations (General Blockchain, 2020): 100 films outlined by radiologists.

**Who and where.** General Blockchain Inc. with the radiologists Ayoub El Hajjami and Mohamed Soliman; films of the
COVID-19 image data collection. **Counts**: 100 films (COVID-19 65, Pneumocystis 11, SARS 10, bacterial 9, ARDS 4, no
finding 1; PA 93, AP 7); outlines of lungs, heart, airways, ground glass (93 films), consolidation (32), effusion (2),
pneumothorax (1), tubes and leads (29). **Devices** not stated.

**Licence**: outlines CC BY 4.0; films per image, see metadata.csv. **Beware**: every film is one of covid_chestxray;
ground-glass outlines are generous (a median of 23 % of the lungs), only 7 films lack it; most films are of patients
with several. In the published layout each outline is a PNG under a hashed name, tied to its film by a COCO file only,
so masks are read from the prepared pack (index.csv), not from the repository.

References:
    https://github.com/GeneralBlockchain/covid-19-chest-xray-segmentations-dataset
    Cohen et al. arXiv:2003.11597, 2020.
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import Radiograph
from hilum.sources.causes import COMPOSITE
from hilum.sources.cohen_table import collection_rows, film_of
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, films_under, not_laid_out

NAME = "covid_seg"
SHEET = Datasheet(
    name=NAME,
    title="COVID-19 chest X-ray segmentations",
    what="100 films with lungs, ground glass, consolidation and devices outlined by radiologists.",
    who="General Blockchain Inc., Ayoub El Hajjami, Mohamed Soliman",
    where="films of covid_chestxray: publications of many countries",
    devices="not stated",
    years="2020",
    counts={"films": 100, "COVID-19": 65, "ground glass": 93, "consolidation": 32},
    views="PA 93, AP 7",
    labels=COMPOSITE,
    licence="outlines CC BY 4.0; films per image",
    citation="General Blockchain Inc. 2020 (see the homepage); Cohen et al. arXiv:2003.11597",
    homepages=("https://github.com/GeneralBlockchain/covid-19-chest-xray-segmentations-dataset",),
    obtain=(
        "git clone https://github.com/GeneralBlockchain/covid-19-chest-xray-segmentations-dataset",
        "move the folder to DATA/covid_seg; copy metadata.csv of covid_chestxray beside images if it has none",
    ),
    layout="""
covid_seg/
  metadata.csv                columns of covid_chestxray
  images/*.png, *.jpg, *.jpeg
  masks/HASH_ID.png           one outline each, named by the COCO annotation file
""",
    caveats=(
        "every film is also one of covid_chestxray: never test across them",
        "ground-glass outlines are large and generous; almost no film is without",
        "masks are available in the pack layout only",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films under images, described by metadata.csv where it lies there; films it does not name come without labels."""
    films = films_under(root / "images") if (root / "images").is_dir() else []
    if not films:
        raise not_laid_out(NAME, root, "film in images")
    table = root / "metadata.csv"
    rows = {row["filename"]: row for row in collection_rows(table)} if table.is_file() else {}
    ids = ImageIds(NAME)
    for path in films:
        if path.name in rows:
            yield film_of(rows[path.name], NAME, path, ids)
        else:
            yield Radiograph(
                image_id=ids.of(path.stem, path.name),
                source=NAME,
                path=path,
                notes=("metadata.csv does not describe the film: no finding, view or patient",),
            )


SOURCE = Source(sheet=SHEET, read=read)
