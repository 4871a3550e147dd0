"""A turn as the model servers want it: one system text, then user and assistant by turns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from port42_daemon.backends.base import Turn

_BEGINNING = "(The beginning of this conversation was left out.)"


def system_of(turn: Turn) -> str | None:
    """The persona, then what else was said as system: many servers take it at the beginning only."""
    said = [turn.system, *(text for role, text in _history(turn) if role == "system")]
    return "\n\n".join(text for text in said if text) or None


def dialogue(turn: Turn) -> list[dict[str, str]]:
    """What was said, ``{"role", "content"}`` each: the first and the last are the user's.

    Anthropic, and the chat templates of many local models, demand that the roles alternate: what one
    side said in a row becomes one message, and a reply whose question was left out gets a stand-in.
    """
    said = [one for one in _history(turn) if one[0] != "system"]
    if said and said[0][0] == "assistant":
        said.insert(0, ("user", _BEGINNING))
    said.append(("user", turn.message))
    return [
        {"role": role, "content": "\n\n".join(text for _, text in row)}
        for role, row in groupby(said, key=itemgetter(0))
    ]


def _history(turn: Turn) -> Iterator[tuple[str, str]]:
    """Role and text; without the messages that have none, which the servers refuse."""
    for message in turn.history:
        if message.role in ("user", "assistant", "system"):
            text = message.content
            if isinstance(text, str) and text.strip():
                yield message.role, text
