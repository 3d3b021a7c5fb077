"""Did the test fold stay out of every choice? A run's files are held against one another."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.audit.check import Finding, Measured, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import JUDGED, LEARNT, Division, Subject, codes_of
from hilum.evaluate import choose_operating_points

CLOSE = 1e-3
"""How far a threshold or a temperature computed again may be off: weights are not fitted again, only figures."""


def ask_hygiene(subject: Subject) -> Finding:
    """12: films tested where they were learnt from; thresholds and temperatures that the tune fold does not give."""
    question = QUESTIONS["hygiene"]
    run, recipe = subject.run, subject.recipe
    if run is None or recipe is None or subject.kind != "run":
        return skipped(question, "how the model was trained and its thresholds chosen is not on record")
    faults = []
    for one in subject.divisions:
        faults += list(_tested_elsewhere(subject, one))
        faults += list(_chosen_elsewhere(subject, one))
    faults += list(_scaled_unlike(subject))
    measured = Measured(of="faults", value=float(len(faults)), n=len(subject.films), counts=True)
    checked = (
        "films tested are films held out",
        "thresholds are those of the tune fold",
        "temperatures are those of the tune fold",
        "the released bundle prepares films as the recipe does",
    )
    says = "No fault: the test fold chose nothing." if not faults else f"{len(faults)} faults, first: {faults[0]}."
    return found(question, [measured], says, details={"faults": faults, "checked": list(checked)})


def _tested_elsewhere(subject: Subject, one: Division) -> Iterator[str]:
    told = subject.predictions
    if "division" not in told:
        return
    mine = told[(told["repeat"] == one.seed) & (told["division"].astype(str) == one.number)]
    learnt = mine["image_id"].isin(one.ids(*LEARNT)) & mine["fold"].isin(JUDGED)
    if learnt.any():
        yield f"{one.name}: {int(learnt.sum())} films are reported that were trained or tuned on"


def _chosen_elsewhere(subject: Subject, one: Division) -> Iterator[str]:
    """Thresholds and temperature computed again from the tune fold's own predictions."""
    run, recipe = subject.run, subject.recipe
    file = run.folder / "divisions" / one.name if run else None
    if file is None or recipe is None or not (file / "division.json").is_file():
        return
    from hilum.fitting import Division as Fitted

    fitted = Fitted.load(file)
    tune = fitted.predictions[fitted.predictions["fold"] == "tune"]
    if tune.empty:
        return
    if recipe.judgement.calibrate and not _same_temperature(tune, subject.classes, fitted.temperature):
        yield f"{one.name}: the temperature {fitted.temperature:.3f} is not what the tune fold gives"
    again = choose_operating_points(tune, subject.classes, recipe.judgement.operating_points)
    before = {(point.label, point.name): point.threshold for point in fitted.points}
    for point in again:
        if abs(before.get((point.label, point.name), np.nan) - point.threshold) > CLOSE:
            yield f"{one.name}: the threshold {point.name} of {point.label} is not what the tune fold gives"


def _same_temperature(tune: pd.DataFrame, classes: tuple[str, ...], temperature: float) -> bool:
    logits = tune[[f"logit.{name}" for name in classes]].to_numpy(np.float64)
    target = codes_of(tune["reference"], classes)
    again = metrics.fit_temperature(logits, target)
    return abs(again - temperature) <= 0.01 * temperature


def _scaled_unlike(subject: Subject) -> Iterator[str]:
    """One preprocess serves all folds, so only a bundle that was changed can differ."""
    if subject.bundle_folder is None or subject.recipe is None:
        return
    from hilum.bundle import read_manifest

    wanted, released = subject.recipe.preprocess, read_manifest(subject.bundle_folder).preprocess
    if wanted.geometry_digest != released.geometry_digest:
        yield "the released bundle prepares films unlike the recipe that was tested"
