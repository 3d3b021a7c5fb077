"""What holds across modules: who may import whom, and documentation that says what the code does."""

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hilum.recipe import parse_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
FENCE = re.compile(r"^```(console|sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_layers_are_kept() -> None:
    pytest.importorskip("importlinter")
    # In a process of its own: it sets up logging anew, and loggers that other tests listen to fall silent.
    told = "import sys; from importlinter.cli import lint_imports as lint; sys.exit(lint(sys.argv[1], no_cache=True))"
    command = [sys.executable, "-c", told, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_pages_say_what_the_code_says() -> None:
    script = ROOT / "docs" / "make_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every `hilum` call in a page's blocks; in `console` blocks those after a `$`."""
    for kind, block in FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in lines:
            words = shlex.split(line, comments=True)
            words = list(itertools.takewhile(lambda word: word not in (">", "|", ">>", "2>", "&&", ";"), words))
            if words and Path(words[0]).name == "hilum":
                yield words[1:]


def check_words(words: list[str]) -> None:
    """Raise what the command line's parser raises for these words; nothing is run."""
    command: Any = typer.main.get_command(_app())
    path = "hilum"
    if words in (["--version"], ["--help"]):
        return
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        path, command, words = f"{path} {words[0]}", command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(path, list(words))


def _app() -> typer.Typer:
    from hilum.cli import app

    return app


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_the_documentation_can_be_typed(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        try:
            check_words(words)
        except Exception as error:  # noqa: BLE001 - a KeyError for verbs, the parser's own error for the rest
            pytest.fail(f"hilum {' '.join(words)}: {getattr(error, 'message', error)!r}")


def test_the_documentation_shows_commands() -> None:
    shown = [words[0] for page in PAGES for words in commands_in(page.read_text(encoding="utf-8")) if words]
    verbs = {"simulate", "index", "describe", "train", "compare", "evaluate", "predict", "report", "sources", "recipes"}
    assert verbs <= set(shown)


@pytest.mark.parametrize(
    "wrong", [["trian", "demo"], ["train", "demo", "--root", "DATA"], ["predict", "RUN"], ["report", "RUN", "--html"]]
)
def test_a_wrong_command_would_be_found(wrong: list[str]) -> None:
    text = f"```console\n$ hilum {' '.join(wrong)}\n```\n"
    assert list(commands_in(text)) == [wrong]
    with pytest.raises(Exception):  # noqa: B017, PT011 - a KeyError for verbs, the parser's own error for the rest
        check_words(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.relative_to(ROOT)} links to {target}"
        assert there.is_relative_to(ROOT)
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.relative_to(ROOT)} links to {target}"


def anchors(page: Path) -> set[str]:
    """What a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_on_the_map() -> None:
    front = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target.partition("#")[0]).resolve() for target in LINK.findall(front)}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {(ROOT / "docs" / "README.md").resolve()}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - linked) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_piece_of_a_recipe_in_the_documentation_is_valid(page: Path) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        whole = block if "title =" in block else f'title = "piece"\n{block}'
        whole += "" if "[classes]" in block else '\n[classes]\none = ["one"]\nother = ["other"]\n'
        assert parse_recipe(whole).class_names
