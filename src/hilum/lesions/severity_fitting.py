"""Severity scores fitted to what readers scored: non-negative ridge lines, tested on groups they never saw.

Everything is nested: each fifth of the groups is foretold by a line whose penalty was chosen, and whose coefficients
were fitted, on the other four. Which shares a score is made of stands in `severity.TARGETS` and is not searched for.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import rankdata

from hilum.errors import DataError
from hilum.lesions.severity import FORMAT, INTERVAL, TARGETS, Figure, ScoreFit, SeverityFit, Target
from hilum.metrics import Bools, Counts, Floats, Ints, bootstrap, interval, known, ratio, resampled_groups
from hilum.split import SplitPlan, make_splits

FOLDS = 5
REPEATS = 5
"""Divisions into folds; figures are means over them."""
FEWEST_GROUPS = 2 * FOLDS
FEWEST_FLAGGED = 10
"""Films with flagged lungs below which they get no figure of their own."""
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""For a feature of spread 1 and a mean squared error: at 1, a lone feature's coefficient is halved. Strongest first."""
NARROWEST = 0.1
"""Share of the mean distance of readers from the line that the spread has at least."""
THIRDS = ("lowest", "middle", "highest")
FLAGGED, REFUSED = "flagged", "refused"
NO_SHARE = "a lung was not found"

Metric = Literal["pearson", "spearman", "mae", "covered"]
AGREEMENT: tuple[Metric, ...] = ("pearson", "spearman", "mae")


@dataclass(frozen=True)
class _Scored:
    """What was scored and can be fitted to: films, or zones of films."""

    features: Floats
    """(N, K), in the order of the target's kinds."""
    readers: Floats
    """(N, R)."""
    group: Ints
    """(N,) from 0 on, none left out."""
    flagged: Bools
    left_out: Mapping[str, int]

    @property
    def groups(self) -> int:
        """How many there are."""
        return int(self.group.max()) + 1

    @property
    def truth(self) -> Floats:
        """(N,) mean over readers."""
        mean: Floats = self.readers.mean(axis=1)
        return mean


@dataclass(frozen=True)
class _Foretold:
    """One repeat: what lines fitted to other groups say of every row, all (N,)."""

    line: Floats
    mean: Floats
    """The mean of the rows fitted to: what is said without looking at the film."""
    fold: Ints


def fit_scores(
    table: pd.DataFrame,
    bundle_digest: str,
    *,
    targets: Sequence[Target] = TARGETS,
    resamples: int = 1000,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> SeverityFit:
    """A line for each target, with figures from nested cross-validation over groups.

    A film whose lungs are flagged is fitted to and judged like any other: disease can hide a lung and so be the cause
    of the flag, and a fit without those films would be one of the less ill.

    Args:
        table: a film a row: `group_id`, the shares of `zones.SHARES` (missing where there are none), the readers'
            columns the targets name (missing where not scored), `flagged`, and `refused`: why there are no shares.
        bundle_digest: of the bundle whose lesions the shares are of.
        targets: what to fit; one whose readers' columns are not there is an error.
        resamples: of groups, for intervals.
        seed: of the divisions into folds and of the resamples.
        provenance: what else to keep with the fit.

    Raises:
        DataError: a column is missing, or a target has too few groups or one score only.
    """
    scores = tuple(_fit(table, target, resamples, seed) for target in targets)
    return SeverityFit(format=FORMAT, bundle_digest=bundle_digest, scores=scores, provenance=dict(provenance or {}))


def _fit(table: pd.DataFrame, target: Target, resamples: int, seed: int) -> ScoreFit:
    rows = _scored(table, target)
    repeats = [_out_of_fold(rows, target, seed + number) for number in range(REPEATS)]
    lines = np.concatenate([repeat.line for repeat in repeats])
    spread, residuals = _band(lines - target.lowest, np.tile(rows.truth, REPEATS) - lines, rows.groups)
    penalty = _penalty(rows.features, rows.truth, repeats[0].fold)
    coefficients, intercept = _line(rows.features, rows.truth, penalty)
    counts = resampled_groups(rows.groups, resamples, seed)
    return ScoreFit(
        **target.model_dump(),
        coefficients=tuple(coefficients.tolist()),
        intercept=intercept,
        spread=spread,
        residuals=residuals,
        penalty=penalty,
        n=len(rows.group),
        groups=rows.groups,
        left_out=dict(rows.left_out),
        figures=tuple(_figures(rows, target, repeats, counts)),
    )


def _scored(table: pd.DataFrame, target: Target) -> _Scored:
    """The rows of a target: scored by every reader, with every share; and why others of the scored ones are not."""
    parts = [(part,) for part in target.parts] if target.each_part else [target.parts]
    blocks = [_block(table, target, part) for part in parts]
    rows = pd.concat(blocks, ignore_index=True)
    scored = rows[rows[list(target.readers)].notna().all(axis=1)]
    there = scored[list(target.kinds)].notna().all(axis=1)
    used = scored[there]
    groups = used["group_id"].nunique()
    if groups < FEWEST_GROUPS:
        raise DataError(
            f"'{target.name}' was scored on {groups} groups with lungs; at least {FEWEST_GROUPS} are needed"
        )
    if used[list(target.readers)].mean(axis=1).nunique() < 2:
        raise DataError(f"'{target.name}' has the same score on every film; nothing can be fitted to it")
    return _Scored(
        features=used[list(target.kinds)].to_numpy(np.float64),
        readers=used[list(target.readers)].to_numpy(np.float64),
        group=pd.factorize(used["group_id"], sort=True)[0].astype(np.int64),
        flagged=used[FLAGGED].to_numpy(np.bool_),
        left_out=Counter(scored[REFUSED][~there].fillna(NO_SHARE).astype(str)),
    )


def _block(table: pd.DataFrame, target: Target, parts: Sequence[str]) -> pd.DataFrame:
    """A row a film: features under their kinds, scores under their readers, and whose they are."""
    named = tuple(parts) if target.each_part else ()
    scores = {reader: ":".join((target.column, *named, reader)) for reader in target.readers}
    shares = {kind: [f"{kind}_{part}" for part in parts] for kind in target.kinds}
    needed = ["group_id", FLAGGED, REFUSED, *scores.values(), *(name for names in shares.values() for name in names)]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(f"the table of scored films lacks the column '{missing[0]}', which '{target.name}' needs")
    block = table[["group_id", FLAGGED, REFUSED]].copy()
    for kind, names in shares.items():
        block[kind] = table[names].mean(axis=1, skipna=False)
    for reader, name in scores.items():
        block[reader] = table[name]
    return block


def _folds(truth: Floats, group: Ints, seed: int) -> Ints:
    """The fold of each row (N,), whole groups at a time; high and low scores are dealt out evenly."""
    higher = rankdata(truth) > len(truth) / 2
    films = pd.DataFrame(
        {
            "image_id": np.arange(len(truth)).astype(str),
            "group_id": group.astype(str),
            "target": np.where(higher, "higher", "lower"),
            "source": "",
            "acquired": pd.NA,
        }
    )
    fold = np.full(len(truth), -1, np.int64)
    plan = SplitPlan(method="kfold", folds=FOLDS, tune=0.0, seeds=(seed,))
    for number, split in enumerate(make_splits(films, plan)):
        fold[split.rows("test")] = number
    return fold


def _line(features: Floats, truth: Floats, penalty: float) -> tuple[Floats, float]:
    """Non-negative ridge: coefficients (K,) and intercept of least squared error plus penalty.

    The penalty is on coefficients of features of spread 1, so that a rare kind of lesion is not penalised for being
    rare. It enters as rows of a non-negative least-squares problem, which has an exact solution.
    """
    middle, spread = features.mean(axis=0), features.std(axis=0)
    scaled = (features - middle) / np.where(spread > 0, spread, 1.0)
    wall = np.sqrt(penalty * len(truth)) * np.eye(features.shape[1])
    wanted = np.concatenate([truth - truth.mean(), np.zeros(len(wall))])
    slopes, _ = nnls(np.concatenate([scaled, wall]), wanted)
    coefficients: Floats = slopes / np.where(spread > 0, spread, 1.0)
    return coefficients, float(truth.mean() - coefficients @ middle)


def _penalty(features: Floats, truth: Floats, fold: Ints) -> float:
    """The penalty of least squared error over the folds of these rows; of equals the strongest."""
    errors = np.zeros(len(PENALTIES))
    for number in np.unique(fold):
        test = fold == number
        for place, penalty in enumerate(PENALTIES):
            coefficients, intercept = _line(features[~test], truth[~test], penalty)
            errors[place] += ((truth[test] - features[test] @ coefficients - intercept) ** 2).sum()
    return PENALTIES[int(errors.argmin())]


def _out_of_fold(rows: _Scored, target: Target, seed: int) -> _Foretold:
    """Each fold foretold from the other four; these four, each in its turn, choose the penalty."""
    fold = _folds(rows.truth, rows.group, seed)
    line, mean = np.zeros(len(fold)), np.zeros(len(fold))
    for number in range(FOLDS):
        test = fold == number
        features, truth = rows.features[~test], rows.truth[~test]
        coefficients, intercept = _line(features, truth, _penalty(features, truth, fold[~test]))
        line[test] = (rows.features[test] @ coefficients + intercept).clip(target.lowest, target.highest)
        mean[test] = truth.mean()
    return _Foretold(line, mean, fold)


def _band(above: Floats, residuals: Floats, groups: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Spread and residual quantiles of a score's interval, as `ScoreFit` keeps them.

    The quantiles are a little further out than asked for, as in conformal prediction: what comes next is one of
    `groups` + 1.

    Args:
        above: (N,) the line's scores above the lowest.
        residuals: (N,) readers minus line.
        groups: they are of.
    """
    distance = np.abs(residuals)
    slopes, _ = nnls(np.column_stack([np.ones(len(above)), above]), distance)
    # Not even at the lowest score is the line certain.
    spread = max(float(slopes[0]), NARROWEST * float(distance.mean())), float(slopes[1])
    scaled = ratio(residuals, spread[0] + spread[1] * above)
    level = min(1.0, (1 + INTERVAL) / 2 * (groups + 1) / groups)
    low, high = np.quantile(scaled, 1 - level, method="lower"), np.quantile(scaled, level, method="higher")
    return spread, (float(low), float(high))


Told = Callable[[Floats], Floats]


def _figures(rows: _Scored, target: Target, repeats: Sequence[_Foretold], counts: Counts) -> list[Figure]:
    everything = np.ones(len(rows.group), np.bool_)
    compare = partial(_compared, group=rows.group, counts=counts)
    lines = [repeat.line for repeat in repeats]
    figures = compare("fitted, against the mean of the readers", lines, rows.truth, everything, AGREEMENT)
    means = [repeat.mean for repeat in repeats]
    figures += compare("always the mean, against the mean of the readers", means, rows.truth, everything, ("mae",))
    if len(target.readers) > 1:
        for reader, scores in zip(target.readers, rows.readers.T, strict=True):
            figures += compare(f"fitted, against {reader}", lines, scores, everything, AGREEMENT)
        for place, reader in enumerate(target.readers[1:], 1):
            of = f"{reader}, against {target.readers[0]}"
            figures += compare(of, [rows.readers[:, place]], rows.readers[:, 0], everything, AGREEMENT)
    if FEWEST_FLAGGED <= rows.flagged.sum() < len(rows.flagged):
        figures += compare("fitted, films with flagged lungs", lines, rows.truth, rows.flagged, ("mae",))
        figures += compare("fitted, films without flags", lines, rows.truth, ~rows.flagged, ("mae",))
    return figures + _coverage(rows, target, repeats, counts)


def _compared(
    of: str,
    told: Sequence[Floats],
    truth: Floats,
    rows: Bools,
    metrics: tuple[Metric, ...],
    *,
    group: Ints,
    counts: Counts,
) -> list[Figure]:
    """How near the marked rows' numbers of each repeat are to the truth."""
    repeats = [(partial(_agreement, one[rows], truth[rows]), group[rows]) for one in told]
    every = _measured(of, AGREEMENT, repeats, int(rows.sum()), counts)
    return [figure for figure in every if figure.metric in metrics]


def _measured(
    of: str, metrics: tuple[Metric, ...], repeats: Sequence[tuple[Told, Ints]], n: int, counts: Counts
) -> list[Figure]:
    """Means over repeats, with intervals over groups; a figure that does not exist is left out."""
    once = np.ones((1, counts.shape[1]), np.uint8)
    figures = []
    for metric, number, column in zip(metrics, bootstrap(once, repeats)[0], bootstrap(counts, repeats).T, strict=True):
        value = known(number)
        if value is not None:
            low, high = interval(column, value) or (None, None)
            figures.append(Figure(metric=metric, of=of, n=n, value=value, low=low, high=high))
    return figures


def _agreement(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Pearson's and Spearman's correlation and the mean absolute difference: (B, 3)."""
    linear = _correlation(np.broadcast_to(one, weights.shape), np.broadcast_to(other, weights.shape), weights)
    ranked = _correlation(_ranks(one, weights), _ranks(other, weights), weights)
    return np.column_stack([linear, ranked, ratio(weights @ np.abs(one - other), weights.sum(axis=1))])


def _correlation(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Weighted, row by row of (B, N)."""
    whole = weights.sum(axis=1, keepdims=True)
    x, y = (values - ratio((weights * values).sum(axis=1, keepdims=True), whole) for values in (one, other))
    spread = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    # Rounding leaves a constant a spread of next to nothing.
    return ratio((weights * x * y).sum(axis=1), np.where(spread > 1e-9, spread, 0.0))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Midranks in each resample, up to a constant: (B, N)."""
    _, which = np.unique(values, return_inverse=True)
    held = np.zeros((len(weights), int(which.max()) + 1))
    np.add.at(held.T, which, weights.T)
    ranks: Floats = (np.cumsum(held, axis=1) - held / 2)[:, which]
    return ranks


def _coverage(rows: _Scored, target: Target, repeats: Sequence[_Foretold], counts: Counts) -> list[Figure]:
    """Share of rows inside an interval made of other folds' residuals: of all, and by what is foretold."""
    inside = [_inside(rows, repeat, target.lowest) for repeat in repeats]
    figures = _covered("all", [(hit, rows.group) for hit in inside], counts)
    thirds = [np.minimum(rankdata(repeat.line) * 3 / len(repeat.line), 2.999).astype(int) for repeat in repeats]
    for place, name in enumerate(THIRDS):
        parts = [(hit[third == place], rows.group[third == place]) for hit, third in zip(inside, thirds, strict=True)]
        figures += _covered(f"{name} third foretold", parts, counts)
    return figures


def _covered(of: str, parts: Sequence[tuple[Floats, Ints]], counts: Counts) -> list[Figure]:
    n = round(float(np.mean([len(hit) for hit, _ in parts])))
    return _measured(of, ("covered",), [(partial(_mean, hit), group) for hit, group in parts], n, counts)


def _mean(values: Floats, weights: Floats) -> Floats:
    return ratio(weights @ values, weights.sum(axis=1))[:, None]


def _inside(rows: _Scored, told: _Foretold, lowest: float) -> Floats:
    """Whether each row (N,) lies in the interval that the other folds' residuals give it: 0 or 1."""
    inside = np.zeros(len(rows.group))
    residuals, above = rows.truth - told.line, told.line - lowest
    for number in range(FOLDS):
        test = told.fold == number
        groups = len(np.unique(rows.group[~test]))
        spread, (low, high) = _band(above[~test], residuals[~test], groups)
        width = spread[0] + spread[1] * above[test]
        inside[test] = (residuals[test] >= low * width) & (residuals[test] <= high * width)
    return inside
