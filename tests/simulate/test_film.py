import numpy as np
import pytest

from hilum.boxes import Box
from hilum.records import COVID19, NORMAL, VIRAL_PNEUMONIA, View
from hilum.simulate.film import FilmPlan, boxes_of, collimated, lesion_mask, lung_mask, render
from hilum.simulate.projection import Field
from hilum.simulate.sites import SITES
from hilum.simulate.volume import PreparedCT


def plan(label: str = COVID19, **changes: object) -> FilmPlan:
    settings = {
        "seed": 3, "film": 1, "patient": 1, "label": label, "severity": 0.8, "view": View.PA, "sex": "M",
        "age_years": 60, "site": SITES[0], "size_px": 128,
    }  # fmt: skip
    return FilmPlan(**(settings | changes))  # type: ignore[arg-type]


def test_boxes_are_tight_around_pieces_and_leave_out_specks() -> None:
    lesion = np.zeros((200, 150), bool)
    lesion[20:60, 30:90] = True
    lesion[100:120, 10:40] = True
    lesion[150:152, 100:102] = True
    assert boxes_of(lesion) == [Box.at(30, 20, 60, 40), Box.at(10, 100, 30, 20)]
    assert boxes_of(np.zeros((50, 50), bool)) == []


def test_a_lesion_counts_inside_the_lungs_and_above_both_limits() -> None:
    added = np.array([[0.0, 0.04, 0.06, 0.2, 1.0, 1.0]], np.float32)
    lungs = np.array([[1, 1, 1, 1, 1, 0]], bool)
    assert lesion_mask(added, lungs).tolist() == [[False, False, False, False, True, False]]
    assert lesion_mask(added * np.float32(0.2), lungs).tolist() == [[False, False, False, False, True, False]]
    assert lesion_mask(added / 20, lungs).sum() == 1
    assert lesion_mask(added / 30, lungs).sum() == 0


def test_lungs_are_deep_enough_clear_of_the_abdomen_and_no_specks() -> None:
    lung_mm, abdomen_mm = np.zeros((100, 100), np.float32), np.zeros((100, 100), np.float32)
    lung_mm[10:60, 10:40] = 80
    lung_mm[90:92, 90:92] = 80
    abdomen_mm[50:] = 100
    mask = lung_mask(lung_mm, abdomen_mm)
    assert mask.sum() == 40 * 30
    assert mask[10:50, 10:40].all()


@pytest.mark.parametrize("aspect", [0.8, 1.0, 1.25])
def test_the_field_holds_the_lungs_and_has_the_films_shape(aspect: float) -> None:
    lungs = Field(across=(-130, 120), up=(-100, 170))
    field = collimated(lungs, margin_mm=25, aspect=aspect, off_mm=np.zeros(2))
    assert field.height_mm / field.width_mm == pytest.approx(aspect)
    assert field.across[0] < -130
    assert field.across[1] > 120
    assert field.up[0] < -100
    assert field.up[1] > 170


@pytest.mark.parametrize("view", [View.PA, View.AP, View.LATERAL])
@pytest.mark.parametrize("label", [COVID19, VIRAL_PNEUMONIA])
def test_a_film_and_its_counterfactual_differ_in_the_lungs_only(ct: PreparedCT, view: View, label: str) -> None:
    film = render(ct, plan(label, view=view))
    change = np.abs(film.shown - film.counterfactual)
    untouched = film.added == 0
    assert film.lesion.any()
    assert not (film.lesion & ~film.lungs).any()
    assert change[film.lesion].mean() > 0.01
    # Blur and detail reach a pixel or two beyond what was added; nothing reaches further.
    far = np.lib.stride_tricks.sliding_window_view(np.pad(untouched, 4, constant_values=True), (9, 9)).all((2, 3))
    assert far.mean() > 0.3
    assert not change[far].any()
    if view is not View.LATERAL:
        assert change[~film.lungs].sum() < 0.12 * change.sum()


def test_the_counterfactual_is_the_film_of_the_lesion_free_cohort(ct: PreparedCT) -> None:
    ill, control = render(ct, plan()), render(ct, plan(lesions=False))
    assert np.array_equal(ill.counterfactual, control.shown)
    assert np.array_equal(ill.lungs, control.lungs)
    assert not control.lesion.any()


def test_the_label_alone_changes_nothing_but_the_disease(ct: PreparedCT) -> None:
    """With the lungs blanked, the same shot under every label is the same picture up to the lungs' rim."""
    normal, viral = render(ct, plan(NORMAL)), render(ct, plan(VIRAL_PNEUMONIA))
    assert np.array_equal(normal.shown, viral.counterfactual)
    assert np.array_equal(normal.lungs, viral.lungs)
    assert normal.shown.shape == viral.shown.shape


@pytest.mark.parametrize("view", [View.PA, View.AP])
def test_films_show_two_lungs_darker_than_what_surrounds_them(ct: PreparedCT, view: View) -> None:
    film = render(ct, plan(NORMAL, view=view))
    middle = film.shown.shape[1] // 2
    assert 0.12 < film.lungs.mean() < 0.6
    assert min(film.lungs[:, :middle].sum(), film.lungs[:, middle:].sum()) > 0.25 * film.lungs.sum()
    spine = film.shown[40:90, middle - 6 : middle + 6]
    assert film.shown[film.lungs].mean() < spine.mean() - 0.2


def test_every_film_of_a_patient_shows_the_same_disease(ct: PreparedCT) -> None:
    first, second = (render(ct, plan(film=number)).extent for number in (1, 2))
    other = render(ct, plan(film=3, patient=2, severity=0.1)).extent
    assert abs(first - second) < abs(first - other)
