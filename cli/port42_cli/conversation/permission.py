"""What an agent asks leave for, put to the person at the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress

from port42_cli import streams
from port42_client.client import Event


def somebody_is_there() -> bool:
    """Whether a question on stderr is seen and an answer on stdin is typed."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask(event: Event) -> str | None:
    """The id of the option that is chosen; None when all are refused. KeyboardInterrupt leaves it."""
    options = event["options"]
    streams.banner(f"@{event['agent']} asks: {event['text']}")
    for number, option in enumerate(options, 1):
        streams.banner(f"  {number}  {option['name']}")
    _forget_what_was_typed()
    while True:
        print(f"1 to {len(options)}, or Enter to refuse: ", end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline()
        if not typed.strip():
            return None
        if typed.strip().isdecimal() and 0 < (number := int(typed)) <= len(options):
            chosen: str = options[number - 1]["id"]
            return chosen


def _forget_what_was_typed() -> None:
    """What was typed before the question was seen is no answer to it."""
    import termios

    with suppress(termios.error):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
