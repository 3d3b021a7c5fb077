"""Engine: what computes a network's answers, torch, ONNX Runtime or OpenVINO; importing it imports none."""

from hilum.engine.answers import LOGITS, SCORING_BATCH, VECTOR, Engine, Frames, in_passes, map_names
from hilum.engine.evidence import EvidenceMap, FilmAnswers, evidence_map, film_answers
from hilum.engine.record import EXPORT, NETWORK, Export, Shift, read_export
from hilum.engine.trials import ENGINES, EngineRecord, Trial, read_engines

__all__ = [
    "ENGINES",
    "EXPORT",
    "LOGITS",
    "NETWORK",
    "SCORING_BATCH",
    "VECTOR",
    "Engine",
    "EngineRecord",
    "EvidenceMap",
    "Export",
    "FilmAnswers",
    "Frames",
    "Shift",
    "Trial",
    "evidence_map",
    "film_answers",
    "in_passes",
    "map_names",
    "read_engines",
    "read_export",
]
