"""Bundle: what is released. A folder of JSON and safetensors that says what it is, checks itself and works alone."""

from hilum.bundle.checking import EngineState, check_engines, engine_states
from hilum.bundle.classifier import (
    Bundle,
    Manifest,
    calibrated,
    load_bundle,
    points_of,
    read_manifest,
    save_bundle,
    self_test,
)
from hilum.bundle.detector import DetectorBundle, load_detector, save_detector
from hilum.bundle.engines import Asked, passed_or_exact
from hilum.bundle.format import FORMAT, MANIFEST, SELFTEST, TOLERANCE, WEIGHTS, find_bundle, proof_frames
from hilum.bundle.released import bundle_folder, released, released_names
from hilum.bundle.segmenter import Agreement, Figure, SegmenterBundle, figure_of, load_segmenter, save_segmenter

__all__ = [
    "FORMAT",
    "MANIFEST",
    "SELFTEST",
    "TOLERANCE",
    "WEIGHTS",
    "Agreement",
    "Asked",
    "Bundle",
    "DetectorBundle",
    "EngineState",
    "Figure",
    "Manifest",
    "SegmenterBundle",
    "bundle_folder",
    "calibrated",
    "check_engines",
    "engine_states",
    "figure_of",
    "find_bundle",
    "load_bundle",
    "load_detector",
    "load_segmenter",
    "passed_or_exact",
    "points_of",
    "proof_frames",
    "read_manifest",
    "released",
    "released_names",
    "save_bundle",
    "save_detector",
    "save_segmenter",
    "self_test",
]
