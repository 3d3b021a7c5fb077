"""DICOM files drawn for the tests: a callable that writes them, and its ways of compressing them."""

import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

CANARY = "DOE^JANE CANARY 12/03/1951"
DX = "1.2.840.10008.5.1.4.1.1.1.1"


class DicomFiles:
    """Writes DX objects of the drawn film; `DicomFiles()(stored, syntax, Attribute=value)` is the file's bytes."""

    @staticmethod
    def drawn(bits: int = 12, height: int = 48, width: int = 64, least: int = 0) -> NDArray[np.uint16]:
        """Samples `(H, W)` that reach both `least` and the top of `bits`."""
        y, x = np.mgrid[0:height, 0:width]
        wave = x / (width - 1) + 0.5 * y / (height - 1) + 0.1 * np.sin(x / 5.0)
        wave = (wave - wave.min()) / np.ptp(wave)
        return (least + np.round(wave * ((1 << bits) - 1 - least))).astype(np.uint16)

    @staticmethod
    def data_set(stored: NDArray[np.generic], **attributes: object) -> Dataset:
        """A DX object with these attributes; those given as None are left out."""
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = DX, "1.2.3.4"
        data.Modality, data.PatientName, data.PatientID = "DX", CANARY, "canary-4711"
        data.Rows, data.Columns = stored.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = 8 * stored.dtype.itemsize
        data.BitsStored = min(12, data.BitsAllocated)
        data.HighBit = attributes.get("BitsStored", data.BitsStored) - 1  # type: ignore[operator]
        data.PixelRepresentation = int(stored.dtype.kind == "i")
        data.PixelData = stored.tobytes()
        data["PixelData"].VR = "OW" if stored.dtype.itemsize == 2 else "OB"
        for keyword, value in attributes.items():
            if value is None:
                delattr(data, keyword)
            elif isinstance(value, DataElement):
                data[keyword] = value
            else:
                setattr(data, keyword, value)
        data.file_meta = FileMetaDataset()
        return data

    @staticmethod
    def written(data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
        data.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        data.save_as(
            buffer, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
        )
        return buffer.getvalue()

    def __call__(
        self, stored: NDArray[np.generic], syntax: UID = ExplicitVRLittleEndian, **attributes: object
    ) -> bytes:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            return self.written(self.data_set(stored, **attributes), syntax)

    def of_syntax(self, name: str) -> bytes:
        """The drawn film, windowed to its full range, in a transfer syntax or an old way of writing files."""
        native = {"implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
        if name in native:
            return self(self.drawn(), native[name], WindowCenter=2048, WindowWidth=4096)
        compressed = {
            "RLE": (RLELossless, "pydicom"),
            "JPEG-LS": (JPEGLSLossless, "pyjpegls"),
            "JPEG 2000": (JPEG2000Lossless, "pylibjpeg"),
        }
        if name in compressed:
            return self.compressed(*compressed[name])
        return {"big endian": self.big_endian, "JPEG lossless": self.jpeg_lossless, "no preamble": self.bare}[name]()

    def compressed(self, syntax: UID, plugin: str) -> bytes:
        data = self.data_set(self.drawn(), WindowCenter=2048, WindowWidth=4096)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        return self.written(data, syntax)

    def jpeg_lossless(self) -> bytes:
        gdcm = pytest.importorskip("gdcm")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "raw.dcm"), Path(folder, "lossless.dcm")
            source.write_bytes(self(self.drawn(), WindowCenter=2048, WindowWidth=4096, SOPInstanceUID=generate_uid()))
            reader = gdcm.ImageReader()
            reader.SetFileName(str(source))
            assert reader.Read()
            change = gdcm.ImageChangeTransferSyntax()
            change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
            change.SetInput(reader.GetImage())
            assert change.Change()
            writer = gdcm.ImageWriter()
            writer.SetFileName(str(target))
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            assert writer.Write()
            return target.read_bytes()

    def bare(self) -> bytes:
        """Without preamble and file meta information, as old software wrote files."""
        data = self.data_set(self.drawn(), WindowCenter=2048, WindowWidth=4096)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, data, implicit_vr=True, little_endian=True, enforce_file_format=False)
        return buffer.getvalue()[buffer.getvalue().index(b"\x08\x00\x16\x00") :]

    def big_endian(self) -> bytes:
        data = self.data_set(self.drawn(), WindowCenter=2048, WindowWidth=4096)
        data.PixelData = self.drawn().astype(">u2").tobytes()
        data["PixelData"].VR = "OW"
        return self.written(data, ExplicitVRBigEndian)


@pytest.fixture(scope="session")
def dicom() -> DicomFiles:
    return DicomFiles()
