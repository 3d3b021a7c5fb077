import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.enhance import STEPS, ParsedStep, apply_steps, crop_steps, grey_steps, parse_step, parse_steps
from hilum.errors import UsageError


@st.composite
def written_steps(draw: st.DrawFn) -> tuple[str, str, dict[str, float]]:
    """A valid text, its name, and the values it sets."""
    name = draw(st.sampled_from(sorted(STEPS)))
    parameters = STEPS[name].parameters
    values: dict[str, float] = {}
    for key in draw(st.permutations(sorted(parameters))):
        one = parameters[key]
        if draw(st.booleans()):
            if one.kind is int:
                value = draw(st.integers(int(one.low), int(one.high)))
                values[key] = value - 1 + value % 2 if one.odd else value
            else:
                values[key] = draw(st.floats(one.low, one.high))
    return ":".join([name, *(f"{key}={value!r}" for key, value in values.items())]), name, values


@given(written_steps())
def test_what_is_written_is_what_is_read(step: tuple[str, str, dict[str, float]]) -> None:
    text, name, values = step
    parsed = parse_step(text)
    assert parsed.name == name
    assert dict(parsed.values) == {key: values.get(key, one.default) for key, one in STEPS[name].parameters.items()}
    assert parse_step(str(parsed)) == parsed
    assert hash(parse_step(str(parsed))) == hash(parsed)


@given(st.text(max_size=40) | written_steps().flatmap(lambda step: st.text(max_size=8).map(lambda end: step[0] + end)))
def test_any_text_is_a_step_or_a_wrong_use(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse_step(text), ParsedStep)


def test_the_same_step_written_otherwise_is_the_same_step() -> None:
    texts = ["clahe", "clahe:clip=2", "clahe:tiles=8:clip=2.0", " clahe : clip = 2 "]
    assert len({parse_step(text) for text in texts}) == 1
    assert parse_step("clahe") != parse_step("clahe:clip=3")


def test_a_step_travels_to_another_process() -> None:
    step = parse_step("agcwd:alpha=.7")
    assert pickle.loads(pickle.dumps(step)) == step


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clahee", "did you mean 'clahe'"),
        ("", "unknown step ''"),
        ("clahe:clp=2", "did you mean 'clip'"),
        ("min-max:limit=2", "unknown setting of the step min-max: 'limit'"),
        ("clahe:2", "'2' where key=value belongs"),
        ("clahe:", "'' where key=value belongs"),
        ("clahe:clip=2:clip=2", "sets clip twice"),
        ("clahe:clip=0.5", "clip must be a number from 1 to 256"),
        ("clahe:clip=nan", "clip must be a number"),
        ("clahe:clip=inf", "clip must be a number"),
        ("clahe:clip=two", "clip=two does not fit"),
        ("clahe:tiles=2.5", "tiles must be a whole number from 1 to 64"),
        ("adaptive-median:window=4", "window must be an odd number from 3 to 15"),
        ("salt-and-pepper:share=0.51", "share must be a number from 0 to 0.5"),
        ("salt-and-pepper:seed=-1", "seed must be a whole number from 0"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_step(text)
    assert says in str(caught.value)


def test_steps_run_in_sequence() -> None:
    film = np.pad(np.linspace(0.2, 0.7, 12, dtype=np.float32).reshape(3, 4), 2)
    steps = parse_steps(["crop-black", "min-max"])
    grey = apply_steps(film, steps)
    assert grey.shape == (3, 4)
    assert (grey.min(), grey.max()) == (0, 1)
    assert np.array_equal(grey, apply_steps(apply_steps(film, crop_steps(steps)), grey_steps(steps)))
    assert apply_steps(film, ()) is film


def test_geometry_comes_before_grey() -> None:
    steps = parse_steps(["crop-black", "crop-black:tolerance=0.1", "clahe", "min-max"])
    assert [step.name for step in crop_steps(steps)] == ["crop-black", "crop-black"]
    assert [step.name for step in grey_steps(steps)] == ["clahe", "min-max"]
    with pytest.raises(UsageError, match="crop-black moves pixels and comes after min-max"):
        parse_steps(["clahe", "min-max", "crop-black"])
