"""From the text of a step to the step, and steps in sequence."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hilum.enhance.borders import Box
from hilum.enhance.film import Pixels
from hilum.enhance.steps import STEPS, Parameter, Step
from hilum.errors import UsageError, unknown_name


@dataclass(frozen=True, slots=True)
class ParsedStep:
    """One step with a value for each of its parameters; equal where it does the same.

    `str(step)` writes every value, and `parse_step` reads that as the same step.
    """

    name: str
    values: tuple[tuple[str, float], ...]
    """Parameter and value, in the order of the registry."""

    @property
    def step(self) -> Step:
        """Its entry in the registry."""
        return STEPS[self.name]

    @property
    def is_geometry(self) -> bool:
        """Whether pixels move: such a step runs before the film is resized."""
        return self.step.box is not None

    def box(self, film: Pixels) -> Box:
        """What the step leaves of a film: all of it, unless it cuts pixels away."""
        if self.step.box is None:
            return Box(0, film.shape[0], 0, film.shape[1])
        return self.step.box(film, **dict(self.values))

    def apply(self, film: Pixels) -> Pixels:
        """float32 `(H, W)` in [0, 1] to a new film of the same kind."""
        return self.step.function(film, **dict(self.values))

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={written(value)}" for key, value in self.values)])


def written(value: float) -> str:
    """A value as recipes write it.

    >>> written(2.0), written(0.55)
    ('2', '0.55')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def parse_step(text: str) -> ParsedStep:
    """Read `name` or `name:key=value:key=value`.

    Raises:
        UsageError: an unknown name or key, a key twice, or a value that is no number or beyond its limits.

    >>> str(parse_step("clahe:clip=3"))
    'clahe:clip=3:tiles=8'
    """
    name, *settings = [part.strip() for part in text.split(":")]
    if name not in STEPS:
        raise unknown_name("step", name, STEPS)
    given: dict[str, float] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UsageError(f"the step '{text}' has '{setting}' where key=value belongs, as in clahe:clip=2:tiles=8")
        if key not in STEPS[name].parameters:
            raise unknown_name(f"setting of the step {name}:", key, STEPS[name].parameters)
        if key in given:
            raise UsageError(f"the step '{text}' sets {key} twice; keep one")
        given[key] = _value(name, key, value)
    return ParsedStep(name, tuple((key, given.get(key, one.default)) for key, one in STEPS[name].parameters.items()))


def _value(name: str, key: str, text: str) -> float:
    parameter = STEPS[name].parameters[key]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    whole = parameter.kind is int
    # Written so that "not a number" is refused as well.
    fits = parameter.low <= value <= parameter.high and (not whole or value.is_integer())
    if not fits or (parameter.odd and value % 2 != 1):
        raise UsageError(f"{key}={text} does not fit the step {name}: {key} must be {_limits(parameter)}")
    return int(value) if whole else value


def _limits(parameter: Parameter) -> str:
    kind = "an odd number" if parameter.odd else "a whole number" if parameter.kind is int else "a number"
    return f"{kind} from {written(parameter.low)} to {written(parameter.high)}"


def parse_steps(texts: Iterable[str]) -> tuple[ParsedStep, ...]:
    """Read steps in sequence.

    Raises:
        UsageError: as `parse_step`, or a step that moves pixels comes after one that does not.
    """
    steps = tuple(parse_step(text) for text in texts)
    for before, after in pairwise(steps):
        if after.is_geometry and not before.is_geometry:
            raise UsageError(
                f"the step {after.name} moves pixels and comes after {before.name}, which runs once the film has its "
                f"final size; write {after.name} first"
            )
    return steps


def crop_steps(steps: Iterable[ParsedStep]) -> tuple[ParsedStep, ...]:
    """Those that move pixels: for the decoded film, before it is resized."""
    return tuple(step for step in steps if step.is_geometry)


def grey_steps(steps: Iterable[ParsedStep]) -> tuple[ParsedStep, ...]:
    """Those that change grey levels: for the film at its final size."""
    return tuple(step for step in steps if not step.is_geometry)


def apply_steps(film: Pixels, steps: Sequence[ParsedStep]) -> Pixels:
    """The film after all of the steps, one after the other; the film itself where there is none."""
    for step in steps:
        film = step.apply(film)
    return film
