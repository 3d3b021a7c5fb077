"""Published tables and film folders as they lie on disk, read without a guess about what is missing."""

import csv
import gzip
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from itertools import chain, count
from pathlib import Path, PurePath
from typing import IO, cast
from xml.etree import ElementTree as ET

from hilum.errors import DataError

DEFECT = "table_defect"
"""The key under which `read_rows` says that a row did not fit its header."""

DICOM_MAGIC = 132
"""First bytes of a file that tell whether it is DICOM."""

_FILMS = (
    frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".dcm", ".dicom"})
    | {".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".j2k", ".jxl", ".pgm", ".ppm", ".tga", ".heic", ".avif"}
    | {".nii", ".mha", ".nrrd"}
)
"""Kinds that are not read, those of the last two lines, are found as films are: they are refused, not passed over."""
_NOT_FILMS = frozenset({".csv", ".tsv", ".txt", ".md", ".json", ".xlsx", ".xls", ".pdf", ".xml", ".zip", ".html"})
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_rows(path: Path, *, required: Sequence[str] = (), delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Rows of a table with a header, cells stripped; UTF-8 (with or without mark) or else Latin-1, `.gz` unpacked.

    Cells beyond the header are joined to the last column, and the row says so under `DEFECT`.

    Raises:
        DataError: the file is missing, or lacks a column of `required`.
    """
    if not path.is_file():
        raise DataError(f"the table {path} is missing; put it there")
    with _opened(path, _encoding_of(path)) as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        header = [(name or "").strip() for name in reader.fieldnames or []]
        absent = [name for name in required if name not in header]
        if absent:
            raise DataError(f"{path} has no column '{absent[0]}'; its columns are: {', '.join(header) or 'none'}")
        try:
            for cells in reader:
                yield _row(cells)
        except csv.Error as error:
            raise DataError(f"{path} is not a readable table near line {reader.line_num}: {error}") from error


def _row(cells: Mapping[str | None, object]) -> dict[str, str]:
    row = {name.strip(): str(cell or "").strip() for name, cell in cells.items() if name is not None and name.strip()}
    surplus = [text.strip() for text in cast("list[str]", cells.get(None) or []) if text.strip()]
    if surplus and row:
        last = next(reversed(row))
        row[last] = ", ".join([row[last], *surplus])
        row[DEFECT] = f"the row has more cells than the header; the surplus was joined to '{last}'"
    return row


def _opened(path: Path, encoding: str) -> IO[str]:
    if path.suffix == ".gz":
        return TextIOWrapper(cast("IO[bytes]", gzip.open(path, "rb")), encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def _encoding_of(path: Path) -> str:
    try:
        with _opened(path, "utf-8-sig") as stream:
            while stream.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def read_workbook(path: Path) -> list[dict[str, str]]:
    """Rows of the first sheet of an .xlsx file, the first row being the header; empty when it cannot be read.

    Workbooks only add where a film came from, so a damaged one must not keep the films from being read.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            shared = _shared_texts(parts)
            # The file is one the user put there; expat bounds entity expansion itself.
            sheet = ET.fromstring(parts.read("xl/worksheets/sheet1.xml"))  # noqa: S314
    except (OSError, KeyError, zipfile.BadZipFile, ET.ParseError):
        return []
    rows = [_workbook_row(row, shared) for row in sheet.iter(f"{_SHEET}row")]
    header = rows[0] if rows else {}
    return [{name.strip(): row.get(column, "").strip() for column, name in header.items()} for row in rows[1:]]


def _shared_texts(parts: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in parts.namelist():
        return []
    texts = ET.fromstring(parts.read("xl/sharedStrings.xml"))  # noqa: S314
    return ["".join(piece.text or "" for piece in item.iter(f"{_SHEET}t")) for item in texts.iter(f"{_SHEET}si")]


def _workbook_row(row: ET.Element, shared: Sequence[str]) -> dict[str, str]:
    cells = {}
    for cell in row.iter(f"{_SHEET}c"):
        column = re.sub(r"\d", "", cell.get("r", ""))
        value = cell.findtext(f"{_SHEET}v") or "".join(piece.text or "" for piece in cell.iter(f"{_SHEET}t"))
        cells[column] = shared[int(value)] if cell.get("t") == "s" and value else value
    return cells


def films_under(folder: Path) -> list[Path]:
    """Every film below `folder`, sorted by path: pictures by suffix, and DICOM files whatever their name.

    Pictures of kinds that are not read are among them. Hidden files, what macOS adds to archives and folders called
    `masks` (any case, `lung masks` too) are not films.
    """
    return sorted(path for path in folder.rglob("*") if _is_film(path, folder))


def _is_film(path: Path, folder: Path) -> bool:
    named = film_by_name(path.relative_to(folder).parts)
    if named is False or not path.is_file():
        return False
    if named:
        return True
    with path.open("rb") as stream:
        return is_dicom(stream.read(DICOM_MAGIC))


def film_by_name(inside: Sequence[str]) -> bool | None:
    """Whether a file is a film, told from the parts of its path in a folder; None where only its first bytes tell."""
    if any(part.startswith((".", "__MACOSX")) or part.lower().endswith("masks") for part in inside):
        return False
    suffix = PurePath(inside[-1].lower().removesuffix(".gz")).suffix
    if suffix in _FILMS:
        return True
    return False if suffix in _NOT_FILMS else None


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins with these `DICOM_MAGIC` bytes is a DICOM file."""
    return start[128:DICOM_MAGIC] == b"DICM"


def one_folder(root: Path, *candidates: str) -> Path | None:
    """The first of `candidates` (paths relative to `root`, "" is `root` itself) that is a folder."""
    return next((root / name for name in candidates if (root / name).is_dir()), None)


def not_laid_out(name: str, root: Path, looked_for: str) -> DataError:
    """The error for a folder that is there but does not hold the data set as published."""
    return DataError(f"{root} does not hold '{name}': no {looked_for} there")


class ImageIds:
    """Names films uniquely within a source: the first candidate not yet given away, else a numbered one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._taken: set[str] = set()

    def of(self, *candidates: str) -> str:
        numbered = (f"{candidates[-1]}#{number}" for number in count(2))
        free = (f"{self._source}/{name}" for name in chain(candidates, numbered))
        image_id = next(name for name in free if name not in self._taken)
        self._taken.add(image_id)
        return image_id
