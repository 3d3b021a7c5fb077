"""Did the model see, in training, what it is judged by? Groups and pictures on both sides of a division."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hilum.audit.check import Finding, Measured, found
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import JUDGED, LEARNT, Subject
from hilum.copies import find_copies
from hilum.index import Index, alike

MOST_LISTED = 50
MOST_COMPARED = 5_000
"""Films whose keypoints are compared: a film takes a seventh of a second, and an audit should not take hours."""

RowPairs = NDArray[np.int64]
Finder = Callable[[Subject], RowPairs | str]
"""(P, 2) rows of `subject.films` that show the same picture, or why it does not look."""


def same_bytes(subject: Subject) -> RowPairs:
    """Films whose files are equal; each later one with the first."""
    return _with_first(subject.films["sha256"])


def same_picture(subject: Subject) -> RowPairs:
    """Films whose perceptual hashes are near, and what the index was told of near-duplicates."""
    films = subject.films
    pairs = [alike(films)]
    for column in ("duplicate_of", "near_duplicate_of"):
        if column in films:
            other = pd.Index(films["image_id"]).get_indexer(pd.Index(films[column]))
            rows = np.flatnonzero(other >= 0)
            pairs.append(np.stack([rows, other[rows]], axis=1))
    return np.concatenate(pairs).astype(np.int64)


def part_of_picture(subject: Subject) -> RowPairs | str:
    """Films whose keypoints agree: crops, edits, mirrored and inverted copies as well."""
    if subject.look is None:
        return "the films are not at hand"
    if len(subject.films) > MOST_COMPARED:
        return f"there are more than {MOST_COMPARED:,} films; hilum duplicates looks, and takes longer"
    films = subject.films.assign(left_out=pd.Series(pd.NA, index=subject.films.index, dtype="string"))
    copies = find_copies(
        {"films": Index(table=films, root=subject.root)}, processes=subject.processes, watch=subject.watch
    )
    row = pd.Index(films["image_id"]).get_indexer(pd.Index(copies.films["image_id"]))
    pairs = [(row[pair.first], row[pair.second]) for pair in copies.pairs]
    return np.array(pairs, np.int64).reshape(-1, 2)


FINDERS: Mapping[str, Finder] = {
    "the same bytes": same_bytes,
    "the same picture": same_picture,
    "a part of the same picture": part_of_picture,
}
"""Ways to find copies, from the surest to the widest."""


def _with_first(key: pd.Series) -> RowPairs:
    codes, _ = pd.factorize(key)
    known = np.flatnonzero(codes >= 0)
    _, first, inverse = np.unique(codes[known], return_index=True, return_inverse=True)
    pairs = np.stack([known[first][inverse], known], axis=1)
    apart: RowPairs = pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64)
    return apart


def ask_groups(subject: Subject) -> Finding:
    """9: patients, with all copies of their films, on both sides of a division."""
    question = QUESTIONS["groups-across-folds"]
    films = subject.by_id
    patient = films["source"].astype("string") + "\x00" + films["patient_id"].astype("string")
    torn = _torn(subject, films["group_id"].astype("string"))
    people = _torn(subject, patient)
    measured = Measured(
        of="groups", value=float(len(torn)), n=len(films), groups=films["group_id"].nunique(), counts=True
    )
    says = f"{_many(len(torn), 'group')} of films in the train and in the test fold, {len(people)} patients among them."
    details = {"groups": sorted(torn)[:MOST_LISTED], "patients": len(people), "divisions": len(subject.divisions)}
    return found(question, [measured], says, details=details)


def _torn(subject: Subject, key: pd.Series) -> set[str]:
    """Keys (by image_id) that films of both sides of one division have."""
    torn: set[str] = set()
    for one in subject.divisions:
        learnt, judged = (set(key.reindex(one.ids(*folds)).dropna()) for folds in (LEARNT, JUDGED))
        torn |= {str(name) for name in learnt & judged}
    return torn


def ask_duplicates(subject: Subject) -> Finding:
    """10: test films whose picture the model was trained or tuned on, by each way to find copies."""
    question = QUESTIONS["duplicates"]
    n = len(subject.films)
    measured, details, unsought = [], {}, []
    for how, finder in FINDERS.items():
        pairs = finder(subject)
        if isinstance(pairs, str):
            unsought.append(f" {how.capitalize()} was not looked for: {pairs}.")
            continue
        leaked = _leaked(subject, _components(n, pairs))
        measured.append(Measured(of=how, value=float(len(leaked)), n=n, counts=True))
        details[how] = _told(subject, pairs, leaked)
    says = "; ".join(f"{_many(int(one.value), 'test film')} with {one.of} in the train fold" for one in measured)
    return found(question, measured, "".join((f"{says}.", *unsought)), details=details)


def _leaked(subject: Subject, component: NDArray[np.int32]) -> set[str]:
    by_id = pd.Series(component, index=subject.films["image_id"])
    leaked: set[str] = set()
    for one in subject.divisions:
        judged = by_id.reindex(one.ids(*JUDGED)).dropna()
        leaked |= set(judged.index[judged.isin(by_id.reindex(one.ids(*LEARNT)).dropna())])
    return leaked


def _told(subject: Subject, pairs: RowPairs, leaked: set[str]) -> dict[str, Any]:
    """How many pairs there are at all, between sources, and the first that lie on both sides."""
    ids, source = subject.films["image_id"].to_numpy(), subject.films["source"].to_numpy()
    listed = [[str(ids[a]), str(ids[b])] for a, b in pairs.tolist() if ids[a] in leaked or ids[b] in leaked]
    between = int((source[pairs[:, 0]] != source[pairs[:, 1]]).sum())
    return {"pairs": len(pairs), "between_sources": between, "leaked": len(leaked), "such_as": listed[:MOST_LISTED]}


def _components(count: int, pairs: RowPairs) -> NDArray[np.int32]:
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    names: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return names


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
