"""Engine: what computes a network's answers, torch or ONNX Runtime; importing it imports neither."""

from hilum.engine.answers import LOGITS, SCORING_BATCH, VECTOR, Engine, Frames, in_passes, map_names
from hilum.engine.evidence import EvidenceMap, FilmAnswers, evidence_map, film_answers
from hilum.engine.record import EXPORT, NETWORK, Export, Shift, read_export

__all__ = [
    "EXPORT",
    "LOGITS",
    "NETWORK",
    "SCORING_BATCH",
    "VECTOR",
    "Engine",
    "EvidenceMap",
    "Export",
    "FilmAnswers",
    "Frames",
    "Shift",
    "evidence_map",
    "film_answers",
    "in_passes",
    "map_names",
    "read_export",
]
