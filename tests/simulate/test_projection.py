import numpy as np
import pytest

from hilum.records import View
from hilum.simulate.anatomy import Patient, draw_patient
from hilum.simulate.projection import OBJECT_MM, SOURCE_MM, Beam, Field, Pose, integrate
from hilum.simulate.volume import PlaneStack

VIEWS = (View.PA, View.AP, View.LATERAL)


def cuboid(half_mm: tuple[float, float, float]) -> PlaneStack:
    """A cuboid of attenuation 0.02 / mm with half-sides (plane, z, column), in 4 mm planes of 2 mm pixels."""
    planes, rows, columns = (np.abs(np.linspace(-1, 1, n) * n * s / 2) for n, s in ((60, 4), (180, 2), (180, 2)))
    inside = (planes < half_mm[0])[:, None, None] & (rows < half_mm[1])[:, None] & (columns < half_mm[2])
    first = (-(60 - 1) / 2 * 4.0, -(180 - 1) / 2 * 2.0, -(180 - 1) / 2 * 2.0)
    return PlaneStack((inside[..., None] * 65535).astype(np.uint16), first, (4.0, 2.0, 2.0), (0.02,))


def beam(view: View, patient: Patient, *, pose: Pose | None = None, half_mm: float = 120.0) -> Beam:
    field = Field(across=(-half_mm, half_mm), up=(-half_mm, half_mm))
    return Beam(view=view, patient=patient, pose=pose or Pose(), field=field, shape=(120, 120))


@pytest.mark.parametrize("view", VIEWS)
def test_the_central_ray_crosses_a_cuboid_by_its_depth(view: View, average_patient: Patient) -> None:
    shadow = integrate(cuboid((60, 80, 80)), beam(view, average_patient))[:, :, 0]
    assert shadow[60, 60] == pytest.approx(0.02 * 120, rel=0.02)
    assert shadow[2, 2] == 0


@pytest.mark.parametrize("view", VIEWS)
def test_shadows_are_magnified_as_the_distances_say(view: View, average_patient: Patient) -> None:
    """A thin slab in the middle plane keeps its size in the middle plane's millimetres."""
    shadow = integrate(cuboid((5, 60, 40)), beam(view, average_patient))[:, :, 0] > 0.1
    assert shadow.any(1).sum() * 2 == pytest.approx(120, abs=5)
    assert shadow.any(0).sum() * 2 == pytest.approx(80, abs=5)


def test_what_lies_nearer_the_source_looks_larger(average_patient: Patient) -> None:
    near = cuboid((5, 60, 60))
    shift = 80.0
    moved = [
        PlaneStack(near.planes, (near.first_mm[0] + d, *near.first_mm[1:]), near.step_mm, near.scale)
        for d in (-shift, shift)
    ]
    widths = [(integrate(stack, beam(View.PA, average_patient))[60, :, 0] > 0.1).sum() for stack in moved]
    from_source = SOURCE_MM[View.PA] - OBJECT_MM[View.PA]
    expected = (from_source + shift) / (from_source - shift)
    assert widths[0] / widths[1] == pytest.approx(expected, rel=0.06)


def test_roll_turns_the_shadow(average_patient: Patient) -> None:
    upright, turned = (
        integrate(cuboid((20, 90, 20)), beam(View.PA, average_patient, pose=Pose(roll=roll)))[:, :, 0] > 0.1
        for roll in (0.0, 20.0)
    )
    assert upright.any(0).sum() < 0.7 * turned.any(0).sum()


def test_a_larger_patient_throws_a_larger_shadow(average_patient: Patient) -> None:
    wide = Patient(**{**vars(average_patient), "width": 1.2})
    one, two = (
        (integrate(cuboid((20, 40, 40)), beam(View.PA, p))[60, :, 0] > 0.1).sum() for p in (average_patient, wide)
    )
    assert two / one == pytest.approx(1.2, rel=0.06)


def test_the_coarse_grid_of_rays_is_fine_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = draw_patient(np.random.default_rng(4), sex="F", age_years=60)
    pose = Pose(yaw=3, pitch=4, roll=2)
    coarse = integrate(cuboid((70, 90, 80)), beam(View.AP, patient, pose=pose))
    monkeypatch.setattr("hilum.simulate.projection.COARSE", 41)
    monkeypatch.setattr("hilum.simulate.projection.COARSE_PLANES", 41)
    fine = integrate(cuboid((70, 90, 80)), beam(View.AP, patient, pose=pose))
    assert np.abs(coarse - fine).mean() < 0.005 * fine.mean()


def test_patients_repeat_with_their_seed_and_age_thins_their_bones() -> None:
    first, again = (draw_patient(np.random.default_rng(2), sex="M", age_years=40) for _ in range(2))
    assert np.array_equal(first.shift_mm, again.shift_mm)
    assert first.width == again.width
    young, old = (
        np.mean([draw_patient(np.random.default_rng(s), sex="F", age_years=age).bone for s in range(40)])
        for age in (25, 85)
    )
    assert young > 1.2 * old
