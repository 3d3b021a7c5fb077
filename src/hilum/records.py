"""The words everything else is written in: views, labels, and one radiograph without its pixels."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

Sex = Literal["F", "M"]
Modality = Literal["XR", "CT"]

DISCLAIMER = "For research and education only; not a diagnostic device."

NORMAL = "normal"
COVID19 = "covid19"
PNEUMONIA = "pneumonia"
BACTERIAL_PNEUMONIA = "bacterial_pneumonia"
VIRAL_PNEUMONIA = "viral_pneumonia"
"""The labels of the composite sets, mutually exclusive there: `viral_pneumonia` is any virus but SARS-CoV-2,
`pneumonia` any other or unstated cause. Sources with labels of their own add them in snake case."""


def nothing() -> Mapping[str, Any]:
    """An empty mapping nobody can fill."""
    return MappingProxyType({})


class View(StrEnum):
    """How the film was taken. An unstated view is None, never a guess."""

    PA = "PA"
    AP = "AP"
    FRONTAL = "frontal"
    """Frontal for certain, PA or AP not stated."""
    LATERAL = "L"
    OTHER = "other"
    """Something else for certain: oblique films, CT slices, limbs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One film as its source describes it, before a single pixel is read.

    `labels` maps a label to True or False; a label that is not a key was not assessed, which is not False.
    `patient_id` is unique within its source only. `group_id` is set where a source already knows which films belong
    together across sources. `notes` say what the source leaves unstated or contradicts itself about.
    """

    image_id: str
    source: str
    path: Path
    labels: Mapping[str, bool] = field(default_factory=nothing)
    label_original: str | None = None
    modality: Modality = "XR"
    view: View | None = None
    view_detail: str | None = None
    patient_id: str | None = None
    group_id: str | None = None
    sex: Sex | None = None
    age_years: float | None = None
    acquired: dt.date | None = None
    manufacturer: str | None = None
    model: str | None = None
    licence: str | None = None
    lung_mask: Path | None = None
    attributes: Mapping[str, str] = field(default_factory=nothing)
    """Whatever else the source states, as text: location, survival, scores, original_width ..."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a bundle says of one label on one film: a calibrated probability, and the threshold it is held against."""

    label: str
    probability: float
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Either findings or a refusal with its reason; never both, never neither."""

    film: str
    bundle_digest: str
    decided: str | None = None
    """The label decided on; None when refused."""
    findings: tuple[Finding, ...] = ()
    refusal: str | None = None
