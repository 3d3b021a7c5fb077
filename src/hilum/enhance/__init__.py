"""Enhancements: what may be done to a film between decoding and the network, each by name, by formula, by itself.

Every function takes one film, float32 `(H, W)` in [0, 1] with bone bright, and gives a new one of the same kind. None
learns from other films, so a film is treated alike wherever it comes from. `borders` move pixels and run on the decoded
film; `blanking`, `grey_levels`, `noise` and `phase` leave them in place and run at the network's size. `STEPS` names
them all.
"""

from hilum.enhance.blanking import blank_border, blank_markers, marker_mask
from hilum.enhance.borders import Box, black_border_box, black_border_crop
from hilum.enhance.grey_levels import agcwd, agcwd_curve, clahe, min_max, zscore, zscore_grey
from hilum.enhance.noise import adaptive_median, non_local_means, salt_and_pepper
from hilum.enhance.phase import Bank, PhaseCongruency, local_phase, local_phase_grey, phase_congruency
from hilum.enhance.steps import STEPS, Parameter, Step
from hilum.enhance.writing import ParsedStep, apply_steps, crop_steps, grey_steps, parse_step, parse_steps, written

__all__ = [
    "STEPS",
    "Bank",
    "Box",
    "Parameter",
    "ParsedStep",
    "PhaseCongruency",
    "Step",
    "adaptive_median",
    "agcwd",
    "agcwd_curve",
    "apply_steps",
    "black_border_box",
    "black_border_crop",
    "blank_border",
    "blank_markers",
    "clahe",
    "crop_steps",
    "grey_steps",
    "local_phase",
    "local_phase_grey",
    "marker_mask",
    "min_max",
    "non_local_means",
    "parse_step",
    "parse_steps",
    "phase_congruency",
    "salt_and_pepper",
    "written",
    "zscore",
    "zscore_grey",
]
