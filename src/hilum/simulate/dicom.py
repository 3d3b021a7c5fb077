"""A simulated film as a DICOM object: Digital X-Ray Image Storage - For Presentation, 12 bits in 16."""

import io

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from hilum.records import View
from hilum.simulate.film import FilmPlan

BITS = 12


def dicom_bytes(shown: NDArray[np.float32], *, plan: FilmPlan, image_id: str, acquired: str, maker: str) -> bytes:
    """The DICOM file of a film (H, W) in [0, 1]; the same film gives the same bytes."""
    instance = _uid("instance", image_id)
    dataset = FileDataset("", {}, file_meta=_file_meta(instance), preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, instance
    _describe_patient(dataset, plan)
    _describe_study(dataset, plan, image_id=image_id, acquired=acquired, maker=maker)
    _describe_view(dataset, plan.view)
    _fill_pixels(dataset, shown)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _uid(*parts: str) -> UID:
    return generate_uid(entropy_srcs=["hilum-simulated", *parts])


def _file_meta(instance: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation")
    return meta


def _describe_patient(dataset: Dataset, plan: FilmPlan) -> None:
    patient = f"s{plan.seed}-p{plan.patient:05d}"
    dataset.PatientID, dataset.PatientName = patient, f"Simulated^{patient}"
    dataset.PatientSex, dataset.PatientAge, dataset.PatientBirthDate = plan.sex, f"{plan.age_years:03d}Y", ""
    dataset.PatientOrientation = ["A", "F"] if plan.view is View.LATERAL else ["L", "F"]


def _describe_study(dataset: Dataset, plan: FilmPlan, *, image_id: str, acquired: str, maker: str) -> None:
    date = acquired.replace("-", "")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid("study", image_id), _uid("series", image_id)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = date
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality, dataset.BodyPartExamined, dataset.ImageLaterality = "DX", "CHEST", "U"
    dataset.Manufacturer, dataset.ManufacturerModelName = maker, "simulated radiograph"
    dataset.InstitutionName = plan.site.name
    dataset.ImageType = ["DERIVED", "PRIMARY", ""]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageComments = "simulated, not a patient"


def _describe_view(dataset: Dataset, view: View) -> None:
    dataset.ViewPosition = "LL" if view is View.LATERAL else str(view)
    code = Dataset()
    code.CodeValue, code.CodeMeaning = {
        View.PA: ("399348003", "postero-anterior"),
        View.AP: ("399348002", "antero-posterior"),
        View.LATERAL: ("399173006", "left lateral"),
    }[view]
    code.CodingSchemeDesignator = "SCT"
    dataset.ViewCodeSequence = [code]


def _fill_pixels(dataset: Dataset, shown: NDArray[np.float32]) -> None:
    most = 2**BITS - 1
    pixels = np.rint(shown * most).clip(0, most).astype("<u2")
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, BITS, BITS - 1, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape, dataset.BurnedInAnnotation = "IDENTITY", "NO"
    dataset.LossyImageCompression = "00"
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (BITS - 1), 2**BITS
    dataset.PixelData = pixels.tobytes()
