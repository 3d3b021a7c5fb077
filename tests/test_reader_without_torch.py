"""What the image without torch must do: read a film, with its map, by command and over HTTP, and show a card."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

ABSENT = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "captum")
TABLES = ("pandas", "pyarrow", "sklearn", "matplotlib", "pydicom")
"""What is slow to import, and only tables, figures and DICOM files need."""
BLOCKED = """\
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
film = Path(sys.argv[1])
"""

COMMAND = """\
from hilum.cli import app
app(["read", str(film), "--no-gate", "--json"])
"""

SERVER = """\
import json
from fastapi.testclient import TestClient
from hilum.bundle import released
from hilum.reader import Policy, Reader
from hilum.serve.app import create_app
from hilum.serve.reading import WithReader
from hilum.serve.settings import Settings

reader = WithReader(Reader(policy=Policy(gate=False)))
cards = {"covid19-frontal": released("covid19-frontal")}
with TestClient(create_app(reader, [], Settings(), cards=cards), base_url="http://127.0.0.1") as client:
    (read,) = client.post("/api/read?pictures=true", files=[("films", ("a.png", film.read_bytes()))]).json()
    page = client.get("/api/card?bundle=covid19-frontal")
    told = client.get("/api/card?bundle=covid19-frontal&format=json")
sys.stdout.write(json.dumps([read, page.status_code, page.text[:15], told.json()]))
"""

OTHERS = """\
import hilum.explain, hilum.explain.frames, hilum.explain.judging, hilum.explain.pictures, hilum.explain.writing
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dark lungs with ribs beside a bright heart and spine, on a grey body."""
    down, across = np.mgrid[-1:1:512j, -1:1:512j]  # type: ignore[misc]
    drawn = np.where(np.abs(across) < 0.95, 0.55, 0.02)
    for middle in (-0.45, 0.45):
        lung = ((across - middle) / 0.33) ** 2 + ((down + 0.05) / 0.68) ** 2 < 1
        drawn[lung] = 0.14
        drawn[lung & (np.abs((down + 0.6) % 0.15) < 0.03)] += 0.1
    drawn[((across - 0.12) / 0.3) ** 2 + ((down - 0.32) / 0.35) ** 2 < 1] = 0.7
    drawn[(np.abs(across) < 0.1) | ((down > 0.6) & (np.abs(across) < 0.93))] = 0.7
    noisy = cv2.GaussianBlur(drawn, (0, 0), 5) + np.random.default_rng(0).normal(0, 0.01, drawn.shape)
    path = tmp_path_factory.mktemp("film") / "drawn.png"
    cv2.imwrite(str(path), np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8))
    return path


def without_torch(work: str, film: Path, *, also: tuple[str, ...] = ()) -> str:
    """What a process prints in which torch cannot be imported, nor what else is named."""
    command = [sys.executable, "-c", f"ABSENT = {ABSENT + also}\n" + BLOCKED + work, str(film)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_whole(read: dict[str, Any]) -> None:
    """An answer with everything in it."""
    (one,) = read["answers"]
    first = one["findings"][0]
    assert 0 <= first["low"] <= first["probability"] <= first["high"] <= 1
    assert one["map"]["no_map"] is None
    assert 0 < one["map"]["in_lungs"] <= 1
    assert read["lungs"]["outlines"]["right"]
    assert read["lungs"]["outlines"]["left"]
    assert set(read["lesions"]) == {"ggo", "consolidation"}
    assert read["severity"]["brixia"]["low"] <= read["severity"]["brixia"]["value"]


def test_torch_is_really_absent(film: Path) -> None:
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        without_torch("import torch\n", film)


def test_the_command_reads_a_film_without_torch_and_tables(film: Path) -> None:
    (read,) = json.loads(without_torch(COMMAND, film, also=TABLES))
    check_whole(read)


def test_the_server_reads_a_film_and_shows_a_card_without_torch(film: Path) -> None:
    read, status, page, card = json.loads(without_torch(SERVER, film))
    check_whole(read)
    assert read["answers"][0]["map"]["picture"].startswith("data:image/png;base64,")
    assert (status, page) == (200, "<!DOCTYPE html>")
    assert card["title"]


def test_what_lays_and_judges_maps_is_imported_without_torch(film: Path) -> None:
    without_torch(OTHERS, film)
