"""The cohort as text tables."""

import dataclasses
import io

from rich.console import Console

from hilum.describe import Description, LeftOut
from hilum.report.terminal import format_description


def printed(description: Description) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(format_description(description))
    return stream.getvalue()


def test_tables_hold_the_counts(description: Description) -> None:
    text = printed(description)
    assert "120 films, 78 patients" in text
    assert "comes from one source, hospital_a" in text
    for counts in description.tables:
        assert f"{counts.title} (n = {counts.n})" in text
    assert "lateral view" in text
    assert "lost/0, lost/1" in text


def test_markup_in_names_is_printed_as_it_is(description: Description) -> None:
    row = LeftOut(reason="[red]not frontal[/]", n=1, examples=("[bold]x",))
    text = printed(dataclasses.replace(description, left_out=(row,), warnings=("[blink]",)))
    assert "[red]not frontal[/]" in text
    assert "[bold]x" in text
    assert "[blink]" in text
