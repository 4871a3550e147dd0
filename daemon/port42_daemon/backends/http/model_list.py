"""The models that a model server lists: read at most once at a time, and kept for a while."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable

import msgspec

from port42_daemon.backends.base import ModelOffer
from port42_daemon.backends.http.errors import Failed
from port42_protocol.messages.types import ModelName

ANSWER_WITHIN = 5.0
MOST_BYTES = 4 * 1024 * 1024
"""What some servers need for a few hundred models, each of which they describe at length."""
MOST_MODELS = 1000
_KEPT = 60.0
"""Seconds: a model that was just pulled or loaded is soon there."""
_PROBLEM_KEPT = 10.0


class CachedOffer:
    """What `read` gave last; it may raise `Failed`. Who asks while it reads waits for the same answer."""

    def __init__(self, read: Callable[[], Awaitable[ModelOffer]], name: str) -> None:
        self._read = read
        self._name = name
        self._offer = ModelOffer()
        self._read_again_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def get(self) -> ModelOffer:
        if time.monotonic() >= self._read_again_at:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._refresh())
            # Who stops waiting leaves the answer to whoever asks next.
            await asyncio.shield(self._reading)
        return self._offer

    async def aclose(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                self._offer = await self._read()
        except TimeoutError:
            self._failed(f"{self._name} did not list its models within {ANSWER_WITHIN:.0f} s")
        except Failed as failed:
            self._failed(failed.failure.message)
        else:
            self._read_again_at = time.monotonic() + _KEPT

    def _failed(self, why: str) -> None:
        """Those that were listed before are still likely to be there."""
        self._offer = ModelOffer(self._offer.models, why)
        self._read_again_at = time.monotonic() + _PROBLEM_KEPT


class _Model(msgspec.Struct, frozen=True):
    """A model in a list, whose name is in one of these fields."""

    id: ModelName | None = None
    name: ModelName | None = None
    model: ModelName | None = None


class _List(msgspec.Struct, frozen=True):
    """OpenAI's and Anthropic's lists have `data`, others `models`."""

    data: list[msgspec.Raw] | None = None
    models: list[msgspec.Raw] | None = None


_ANSWER = msgspec.json.Decoder(_List | list[msgspec.Raw])
_MODEL = msgspec.json.Decoder(_Model | ModelName)


def listed(answer: bytes, name: str) -> ModelOffer:
    """The models in a server's answer, each once, in its order. Raises `Failed`."""
    try:
        entries = _ANSWER.decode(answer)
        if isinstance(entries, _List):
            entries = entries.models if entries.data is None else entries.data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        entries = None
    if entries is None:
        raise Failed("crashed", f"{name} answers with something that is no list of models")
    names = list(dict.fromkeys(filter(None, map(_name_of, entries))))
    if len(names) > MOST_MODELS:
        detail = f"{name} lists {len(names):,} models; these are the first {MOST_MODELS:,}"
        return ModelOffer(tuple(names[:MOST_MODELS]), detail)
    return ModelOffer(tuple(names), None if names else f"{name} lists no models")


def _name_of(entry: msgspec.Raw) -> str | None:
    """None for what is no model, and for a name that no terminal should be given."""
    try:
        model = _MODEL.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    name = model if isinstance(model, str) else model.id or model.model or model.name
    return name if name and name.isprintable() else None


def likely_meant(model: str, offer: ModelOffer) -> str:
    """A question that names similar models, where `model` is not listed; else empty."""
    if model in offer.models:
        return ""
    near = difflib.get_close_matches(model, offer.models, n=3)
    return f"did you mean {' or '.join(near)}?" if near else ""
