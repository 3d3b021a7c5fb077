"""Which function answers which question, and what it needs to be known. A new check is a line in `CHECKS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hilum.audit import figures, frozen, gate, hygiene, leaks, origin, probes, saliency, shortcuts, tested, transport
from hilum.audit.check import Finding, Question
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import Subject


class Need(StrEnum):
    """What a check cannot do without; the text is the reason it is skipped for."""

    DIVISIONS = "no division says which of these films the model was trained on"
    FILMS = "the films themselves are not at hand"
    RUN = "only a run of hilum says how it was trained"
    BUNDLE = "there is no bundle of hilum to ask"
    GATE = "there is no input gate to show pictures to"

    def lacks(self, subject: Subject) -> bool:
        """Whether this subject cannot give it."""
        return not {
            Need.DIVISIONS: subject.divisions,
            Need.FILMS: subject.look,
            Need.RUN: subject.run,
            Need.BUNDLE: subject.bundle_folder,
            Need.GATE: subject.gate or (subject.bundle_folder and subject.look),
        }[self]


Ask = Callable[[Subject], Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """A question, who answers it, and what must be known for that."""

    question: Question
    ask: Ask
    needs: tuple[Need, ...] = ()

    def lacks(self, subject: Subject) -> str | None:
        """Why it cannot be made; None where it can."""
        return next((need.value for need in self.needs if need.lacks(subject)), None)


def _check(name: str, ask: Ask, *needs: Need) -> tuple[str, Check]:
    return name, Check(QUESTIONS[name], ask, needs)


CHECKS: Mapping[str, Check] = dict(
    [
        _check("source", shortcuts.ask_source),
        _check("header", shortcuts.ask_header),
        _check("lungs-out-retrained", probes.ask_lungs_out, Need.FILMS),
        _check("lungs-out", frozen.ask_lungs_out, Need.FILMS, Need.BUNDLE),
        _check("edges", shortcuts.ask_edges, Need.FILMS),
        _check("source-within-label", probes.ask_source_within_label, Need.FILMS),
        _check("unseen-source", probes.ask_unseen_source, Need.FILMS),
        _check("too-good", figures.ask_too_good),
        _check("groups-across-folds", leaks.ask_groups, Need.DIVISIONS),
        _check("duplicates", leaks.ask_duplicates, Need.DIVISIONS),
        _check("attributes", shortcuts.ask_attributes),
        _check("hygiene", hygiene.ask_hygiene, Need.RUN),
        _check("markers", frozen.ask_markers, Need.FILMS, Need.BUNDLE),
        _check("saliency-in-lungs", saliency.ask_saliency_in_lungs, Need.FILMS, Need.BUNDLE),
        _check("saliency-on-lesions", saliency.ask_saliency_on_lesions, Need.FILMS, Need.BUNDLE),
        _check("size", figures.ask_size),
        _check("calibration", figures.ask_calibration),
        _check("threshold-transport", transport.ask_transport),
        _check("perturbation", frozen.ask_perturbation, Need.FILMS, Need.BUNDLE),
        _check("seeds", figures.ask_seeds),
        _check("gate", gate.ask_gate, Need.GATE),
        _check("self-test", tested.ask_self_test),
        _check("provenance", origin.ask_provenance),
    ]
)
"""By name of their question, in the order of their numbers."""
