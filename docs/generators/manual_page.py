"""`man port42`: prints the manual page, made of the help texts of the commands.

python docs/generators/manual_page.py > docs/man/port42.1
"""

from __future__ import annotations

import re
import sys

import reference

from port42_cli import app
from port42_protocol import __version__

_VARIABLES = (
    ("PORT42_HOME", "Where sessions are kept, instead of ~/.port42. Such a home has its own socket."),
    ("PORT42_SOCKET", "Where the daemon listens, instead of the runtime folder."),
    ("PORT42_HOST", "The machine whose daemon is meant, reached by ssh."),
    ("PORT42_NO_AUTOSTART", "The command starts no daemon, and replaces none."),
    ("PORT42_DEBUG", "Trace what is sent and received, on stderr."),
    ("PORT42_LOG_LEVEL", "Of the daemon's log: INFO, WARNING, …"),
    ("NO_COLOR", "No colours."),
)
_FILES = (
    ("~/.port42/sessions", "The sessions, a JSON document each."),
    ("~/.port42/config.toml", "Agents, back ends and limits."),
    ("~/.port42/daemon.log", "The daemon's log."),
)


def page() -> str:
    lines = [
        f'.TH PORT42 1 "" "Port42 {__version__}" "User Commands"',
        ".SH NAME",
        "port42 \\- sessions of AI agents, kept apart, durable and resumable",
        ".SH SYNOPSIS",
        ".B port42",
        "[\\fIOPTIONS\\fR] [\\fICOMMAND\\fR] [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
    ]
    (context, root), *commands = reference.walk()
    lines += [*_help(root.help), ".PP", _text(root.epilog or ""), ".SH OPTIONS"]
    lines += _options(reference.records(context, root))
    lines.append(".SH COMMANDS")
    for context, command in commands:
        lines += [f".SS {_text(reference.usage(context))}", *_help(command.help)]
        lines += _options(reference.records(context, command))
    lines.append(".SH EXIT STATUS")
    lines += _options(re.findall(r"^\| (\d+) \| (.*) \|$", app.__doc__ or "", re.MULTILINE))
    lines += [".SH ENVIRONMENT", *_options(_VARIABLES), ".SH FILES", *_options(_FILES)]
    return "\n".join(lines) + "\n"


def _help(text: str | None) -> list[str]:
    lines = []
    for kept, paragraph in reference.paragraphs(text):
        lines += [
            ".PP",
            *([".nf", *map(_text, paragraph.split("\n")), ".fi"] if kept else [_text(paragraph)]),
        ]
    return lines


def _options(records: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[str]:
    return [line for names, text in records for line in (".TP", f"\\fB{_text(names)}\\fR", _text(text))]


def _text(text: str) -> str:
    """One line in which nothing is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
