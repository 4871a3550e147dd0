"""The two back ends that talk to model servers, and how their servers reply."""

from types import ModuleType

from peers import backends_anthropic, backends_openai
from peers.model_server import (
    ModelServer,
    events,
)

from port42_daemon.backends.http.anthropic import Anthropic
from port42_daemon.backends.http.openai import OpenAI

KEY = "sk-test-0123456789abcdef"
ENVIRON = {"TEST_KEY": KEY}


class Kind:
    """One of the two: its back end, and its servers' streams."""

    def __init__(self, peer: ModuleType, build: type[OpenAI] | type[Anthropic]) -> None:
        self.peer, self.build = peer, build

    def backend(self, server: ModelServer, **more: object) -> OpenAI | Anthropic:
        return self.build(self.peer.config(server, **more), ENVIRON)

    def reply(self, *pieces: str) -> bytes:
        return events(self.peer.text(*pieces))

    def begun(self, *pieces: str) -> bytes:
        """A reply without its end."""
        if self.peer is backends_openai:
            return events(backends_openai.chunk({"content": piece}) for piece in pieces)
        return events([*backends_anthropic.start(), *map(backends_anthropic.piece, pieces)])
