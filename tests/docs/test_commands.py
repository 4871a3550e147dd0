"""Every `port42` command in the documents is one that the program takes: its name, options and arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from port42_cli.app import port42
from port42_client.errors import CommandError

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(text):
    """The commands in the blocks of a document, also those within another: ``"$(port42 socket-path)"``."""
    for language, block in re.findall(r"^```(console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^\$ (.*)$" if language == "console" else r"^(.*)$", block, re.MULTILINE):
            yield from re.findall(r"\$\((port42 [^)]*)\)", line)
            yield from re.findall(r"(?:^|[|&] )(port42 .*)", line)


COMMANDS = [(document.name, line) for document in DOCUMENTS for line in commands(document.read_text())]


def words(line):
    """Those of the first `port42` in a line of the shell, without comments, pipes and redirections."""
    lexer = shlex.shlex(line.replace("…", "x"), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found = list(lexer)
    end = next((number for number, word in enumerate(found) if set(word) <= set("|&;<>()")), len(found))
    return found[1:end]


@pytest.fixture
def parse(monkeypatch):
    """Raises what the program would say of the words, without running anything."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, ctx: None)
    return lambda args: port42.main(args, prog_name="port42", standalone_mode=False)


def test_documents_have_commands():
    assert len(COMMANDS) > 70


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_the_program_takes_it(parse, document, line):
    try:
        parse(words(line))
    except (click.UsageError, CommandError, ValueError) as error:
        pytest.fail(f"{document}: {line}: {error}")


@pytest.mark.parametrize(
    "line", ["port42 sesions", "port42 show --nonsense x", "port42 rename x", "port42 daemon x"]
)
def test_what_it_does_not_take_is_noticed(parse, line):
    with pytest.raises(click.UsageError):
        parse(words(line))
