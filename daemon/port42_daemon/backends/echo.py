"""The back end that repeats what it is told, so that a turn can be tried before anything is connected.

It is no model, and says so in each turn.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from port42_daemon.backends.base import Ask, Done, Event, Health, ModelOffer, Notice, Started, Text, Turn
from port42_daemon.config import EchoBackend
from port42_protocol.presets import ECHO, PRESETS

_WORD = re.compile(r"\s*\S+\s*")
_MOST_PIECES = 200
"""Beyond so many words several come at once: a long message is repeated within seconds."""


class Echo:
    """Repeats the message in pieces of a word, with a pause of `config.pause` seconds after each."""

    tool = None
    has_modes = False
    takes_mcp_servers = False

    def __init__(self, config: EchoBackend) -> None:
        self._config = config

    async def probe(self) -> Health:
        return Health("ready", PRESETS[ECHO])

    async def models(self) -> ModelOffer:
        return ModelOffer(detail=f"{ECHO} asks no model")

    async def run(self, turn: Turn, ask: Ask) -> AsyncIterator[Event]:  # noqa: ARG002 - the interface has it
        yield Started(model=ECHO)  # whatever model was asked for: what answered is recorded
        yield Notice("this answer only repeats the message: no model is asked")
        words = _WORD.findall(turn.message) or [turn.message]
        together = -(-len(words) // _MOST_PIECES)
        for first in range(0, len(words), together):
            yield Text("".join(words[first : first + together]))
            await asyncio.sleep(self._config.pause)
        yield Done()

    async def aclose(self) -> None:
        """Nothing is kept for later turns."""
