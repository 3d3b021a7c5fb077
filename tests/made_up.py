"""A bundle that was never trained, for tests of what is told of bundles."""

from pathlib import Path
from typing import Any

from hilum.bundle import SELFTEST, WEIGHTS
from hilum.bundle.format import sign_manifest
from hilum.files import sha256_file
from hilum.preprocess import Preprocess
from hilum.records import DISCLAIMER


def signed_bundle(folder: Path, **told: Any) -> Path:
    """A bundle of any kind as far as a card reads it: hashes hold, the tensors are none."""
    folder.mkdir()
    for name in (WEIGHTS, SELFTEST):
        (folder / name).write_bytes(name.encode())
    plain = {
        "format": 1,
        "kind": "classifier",
        "title": "Made up",
        "preprocess": Preprocess(size_px=64).model_dump(mode="json"),
        "intended_use": "Tests.",
        "disclaimer": DISCLAIMER,
        "recipe": {},
        "provenance": {},
        "files": {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)},
    }
    sign_manifest(folder, plain | told)
    return folder
