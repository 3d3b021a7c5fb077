"""Three DICOM files for trying the decoder and the gate: two chests and one leg, no diagnosis.

**Who and where.** A 10-bit MONOCHROME1 chest from the test files of dcmfx / fo-dicom, and RG1 and RG3 (JPEG 2000)
from the package pydicom-data 1.0.0. **Counts**: 3 files. **Devices**: CR. **Licence**: that of those projects; test
files without patient data. **Beware**: RG1 shows many round nodules, RG3 is a lower leg and must be refused as not a
chest; nothing here has a label.

References:
    https://github.com/dcmfx/dcmfx, https://pypi.org/project/pydicom-data/
"""

from hilum.sources.datasheet import Datasheet
from hilum.sources.pack import pack_source

SHEET = Datasheet(
    name="dicom_samples",
    title="Three DICOM files",
    what="Two chest films and one leg as DICOM, for trying the decoder and the gate.",
    who="the dcmfx, fo-dicom and pydicom projects",
    where="not stated",
    devices="CR",
    years="not stated",
    counts={"files": 3},
    views="PA 2; a leg, AP",
    labels=(),
    licence="that of the projects",
    citation="https://github.com/dcmfx/dcmfx; https://pypi.org/project/pydicom-data/",
    homepages=("https://github.com/dcmfx/dcmfx", "https://pypi.org/project/pydicom-data/"),
    obtain=("put the prepared pack at DATA/dicom_samples (index.csv in it)",),
    layout="""
dicom_samples/
  index.csv                   file, modality, body_part, view, photometric, ...
  *.dcm
""",
    caveats=("no diagnosis is known", "one file is not a chest, on purpose"),
)
SOURCE = pack_source(SHEET)
