import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hilum.audit.given import subject_of_scores
from hilum.audit.running import run_audit
from hilum.errors import DataError, UsageError
from hilum.index import Index


@pytest.fixture
def index(drawn: Index) -> Index:
    return drawn


def rows(index: Index, **columns: object) -> pd.DataFrame:
    """A score for every film in use: high where it has a patch, mostly."""
    films = index.films
    rng = np.random.default_rng(0)
    patch = films["label.patch"].to_numpy(bool)
    p = np.clip(0.3 + 0.4 * patch + rng.normal(0, 0.1, len(films)), 0, 1)
    return pd.DataFrame({"image_id": films["image_id"], "p.patch": p}).assign(**columns)


def written(table: pd.DataFrame, tmp_path):
    file = tmp_path / "scores.csv"
    table.to_csv(file, index=False)
    return file


def test_one_probability_is_a_label_against_its_absence(index, tmp_path):
    subject = subject_of_scores(written(rows(index), tmp_path), index)
    assert subject.classes == ("patch", "other")
    assert subject.predictions["reference"].value_counts().to_dict() == {"patch": 24, "other": 24}
    assert np.allclose(subject.predictions[["p.patch", "p.other"]].sum(axis=1), 1)
    assert subject.divisions == ()
    assert subject.own_folds


def test_a_class_each(index, tmp_path):
    table = rows(index)
    subject = subject_of_scores(written(table.assign(**{"p.plain": 1 - table["p.patch"]}), tmp_path), index)
    assert subject.classes == ("patch", "plain")
    assert set(subject.films["target"]) == {"patch", "plain"}


def test_a_score_needs_to_say_of_what(index, tmp_path):
    file = written(rows(index).rename(columns={"p.patch": "score"}), tmp_path)
    with pytest.raises(UsageError, match="--label"):
        subject_of_scores(file, index)
    assert subject_of_scores(file, index, label="plain").classes == ("plain", "other")


def test_films_by_path(index, tmp_path):
    table = rows(index).drop(columns="image_id")
    for paths in (index.films["path"], [str(index.root / path) for path in index.films["path"]]):
        subject = subject_of_scores(written(table.assign(path=list(paths)), tmp_path), index)
        assert subject.predictions["image_id"].tolist() == index.films["image_id"].tolist()


def test_folds_are_told_apart(index, tmp_path):
    fold = np.where(np.arange(len(index.films)) % 6 < 3, "train", "Test")
    subject = subject_of_scores(written(rows(index, fold=fold), tmp_path), index)
    assert len(subject.predictions) == 24
    assert len(subject.films) == 48
    assert [one.name for one in subject.divisions] == ["seed-0-fold-0"]
    assert not subject.own_folds


def test_what_is_trained_on_needs_no_score(index, tmp_path):
    table = rows(index, fold=np.where(np.arange(len(index.films)) % 6 < 3, "train", "test"))
    table.loc[table["fold"] == "train", "p.patch"] = np.nan
    assert len(subject_of_scores(written(table, tmp_path), index).predictions) == 24


def test_a_reference_of_its_own(index, tmp_path):
    reference = np.where(np.arange(len(index.films)) % 2, "patch", "other")
    subject = subject_of_scores(written(rows(index, reference=reference), tmp_path), index)
    assert subject.films["target"].tolist() == reference.tolist()


def test_films_left_out_are_counted(index, tmp_path):
    fewer = index.leave_out(index.table["image_id"] == index.table["image_id"].iloc[0], "a blank film")
    subject = subject_of_scores(written(rows(index), tmp_path), fewer)
    assert subject.notes == ("1 films that the index leaves out are left aside",)
    assert len(subject.films) == 47


FAULTS = {
    "1 of 48 rows of scores.csv name films that the index does not have": lambda t: t.replace(
        {"image_id": {t["image_id"].iloc[0]: "nobody"}}
    ),
    "1 rows of scores.csv are of films that have a row already": lambda t: t.assign(
        image_id=[t["image_id"].iloc[1], *t["image_id"].iloc[1:]]
    ),
    r"2 rows of scores.csv have a value that is missing or outside \[0, 1\]": lambda t: t.assign(
        **{"p.patch": [1.2, np.nan, *t["p.patch"].iloc[2:]]}
    ),
    "unknown label .column p.\\*. 'pach'; did you mean 'patch'": lambda t: t.rename(columns={"p.patch": "p.pach"}),
    "states no probability": lambda t: t.drop(columns="p.patch"),
    "names no films": lambda t: t.drop(columns="image_id"),
    "holds no film": lambda t: t.iloc[:0],
    "the p.* of 48 rows": lambda t: t.assign(**{"p.plain": 0.9}),
    "1 rows of scores.csv have a fold that is none of": lambda t: t.assign(fold=["seen", *["test"] * 47]),
    "no row in the test fold": lambda t: t.assign(fold="train"),
    "48 rows of scores.csv have a reference that is none of patch, other": lambda t: t.assign(reference="x"),
    "no film judged in scores.csv is other": lambda t: t.assign(reference="patch"),
}


@pytest.mark.parametrize("said", FAULTS)
def test_faults_are_said_in_a_sentence(index, tmp_path, said):
    with pytest.raises((DataError, UsageError), match=said):
        subject_of_scores(written(FAULTS[said](rows(index)), tmp_path), index)


def test_no_file_and_no_table(index, tmp_path):
    with pytest.raises(DataError, match="do not exist"):
        subject_of_scores(tmp_path / "none.csv", index)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="not a readable CSV"):
        subject_of_scores(tmp_path / "empty.csv", index)


def test_a_strangers_scores_are_audited(index, tmp_path):
    audit = run_audit(
        subject_of_scores(written(rows(index), tmp_path), index), tmp_path / "audit", only=["edges", "hygiene"]
    )
    edges = audit.find("edges")
    assert edges is not None
    assert edges.measured, edges.reason
    assert audit.find("hygiene").verdict == "SKIPPED"


def test_no_torch_is_needed():
    """Auditing somebody's scores must work where nothing of hilum[train] is installed."""
    code = (
        "import sys; import hilum.audit.given, hilum.audit.running, hilum.cli.audit; "
        "sys.exit(int(any(name.split('.')[0] in ('torch', 'timm') for name in sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
