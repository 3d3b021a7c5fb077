"""A comparison as a table, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from hilum.compare.judging import MEASURES, Compared, Comparison
from hilum.evaluate import Score

NOT_AUDITED = "not audited"


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """A row a run; figures as three columns each, `X`, `X_low` and `X_high`."""
    return pd.DataFrame([_row(row, chosen=row.variant.name == comparison.chosen) for row in comparison.rows])


def _row(row: Compared, *, chosen: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "run": row.variant.name,
        "recipe": row.variant.recipe,
        "varied": "; ".join(f"{key} = {value}" for key, value in row.variant.varied.items()),
    }
    told |= {"fold": row.fold, "films": row.evaluation.n_films, "groups": row.evaluation.n_groups}
    for measure in MEASURES:
        told |= _figure(measure, row.scores[measure])
    for measure in MEASURES:
        told |= _figure(f"{measure}_difference", (row.differences or {}).get(measure))
    told["not_paired"] = row.apart
    told |= _figure("floor", row.floor)
    told["floor_name"] = row.floor.metric.removeprefix("floor.") if row.floor else None
    told |= {"above_floor": row.above, "audit": row.verdict or NOT_AUDITED} | _kept(row)
    told |= {"tune_loss": row.tune_loss, "chosen_on_tune": chosen, "weights": row.weights}
    return told | {"trained_parameters": row.trained, "parameters": row.parameters, "seconds": round(row.seconds, 1)}


def _kept(row: Compared) -> dict[str, Any]:
    """The mean over kept-out domains, its difference to the first run's, and each domain's AUROC or shares."""
    if row.kept is None:
        return {}
    told: dict[str, Any] = _figure("kept_out", row.kept.mean) | _figure("kept_out_difference", row.kept.difference)
    told["kept_out_paired_in"] = "; ".join(row.kept.paired)
    for part in row.kept.parts:
        name = f"without_{part.domain}"
        told |= _figure(name, part.area) | {f"{name}_films": part.films, f"{name}_groups": part.groups}
        for share in part.shares:
            told |= _figure(f"{name}_{share_name(share)}", share)
        if part.without.failed:
            told[f"{name}_failed"] = part.without.failed
    return told


def share_name(share: Score) -> str:
    """`specificity`, or of several classes `recall_CLASS`."""
    return share.metric if share.at else f"{share.metric}_{share.label}"


def _figure(name: str, score: Score | None) -> dict[str, float | None]:
    parts = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: getattr(score, part) if score else None for end, part in parts.items()}


def as_dict(comparison: Comparison) -> Mapping[str, object]:
    """The comparison as JSON values."""
    rows = [_row(row, chosen=row.variant.name == comparison.chosen) for row in comparison.rows]
    return {
        "runs": [row | {"varied": dict(told.variant.varied)} for row, told in zip(rows, comparison.rows, strict=True)],
        "seeds": [asdict(seeds) for seeds in comparison.seeds],
        "chosen_on_tune": comparison.chosen,
        "kept_out_domains": list(comparison.domains),
        "choice": asdict(comparison.choice) if comparison.choice else None,
        "notes": list(comparison.notes),
    }


def difference_text(row: Compared, measure: str = "auroc") -> str:
    """`+0.012 [-0.004, +0.028]`, or why there is no paired difference."""
    if row.differences is None:
        return row.apart or "-"
    return signed_text(row.differences.get(measure))


def signed_text(score: Score | None) -> str:
    """A difference with its interval; a dash where there is none."""
    if score is None or score.value is None:
        return "-"
    bounds = "" if score.low is None or score.high is None else f" [{_signed(score.low)}, {_signed(score.high)}]"
    return _signed(score.value) + bounds


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}" if round(value, 3) else "0.000"
