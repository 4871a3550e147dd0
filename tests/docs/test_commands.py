"""What the documents name is what the program takes: commands, options and arguments, and configurations.

Those of the pages are run, too: `tests/e2e/test_pages.py`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from port42_cli.app import port42
from port42_client.errors import CommandError
from port42_daemon.config import parse as parse_config

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


def in_sentences(text):
    """The commands between backquotes outside of blocks, without what stands for a value."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).replace("\n", " ")
    yield from re.findall(r"`port42 ([a-z][^`]*)`", prose)


IN_SENTENCES = sorted({line for document in DOCUMENTS for line in in_sentences(document.read_text())})
CONFIGURATIONS = [
    pytest.param(text, id=f"{document.name}:{number}")
    for document in DOCUMENTS
    for number, text in enumerate(
        re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    )
]


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


def test_documents_have_commands_and_configurations():
    assert (len(COMMANDS) > 70, len(IN_SENTENCES) > 50, len(CONFIGURATIONS) > 5) == (True, True, True)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_is_taken(text):
    named = set(re.findall(r'^backend = "(\w+)"', text, re.MULTILINE))
    assert named <= set(parse_config(text).backends)


@pytest.mark.parametrize("line", IN_SENTENCES)
def test_a_command_in_a_sentence_is_known_with_its_options(line):
    command = port42
    for word in line.split():
        if not isinstance(command, click.Group) or not re.fullmatch("[a-z-]+", word):
            break
        command = command.get_command(click.Context(command), word)
        assert command is not None, word
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)) <= options


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
