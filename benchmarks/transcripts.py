"""Transcripts of Claude Code to import and capture: with short lines, and with lines as long as real ones."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

AGE = 3600.0
"""Seconds since the sources were written."""
_USAGE = {
    "input_tokens": 12,
    "cache_read_input_tokens": 18_000,
    "output_tokens": 140,
    "service_tier": "standard",
}
_MODEL = "claude-sonnet-4-5"
_LINES = 107
"""Of a real file, in the mean."""


class _Kind(NamedTuple):
    """How many there were of a kind of line, and its lengths in bytes.

    These are the middles of ten equal parts, and the mean of the longest twentieth.
    """

    number: int
    lengths: tuple[int, ...]
    longest: int


_REAL = {
    "prompt": _Kind(226, (373, 482, 509, 547, 570, 664, 890, 1686, 5327, 31612), 157091),
    "thinking": _Kind(1026, (1177, 1238, 1283, 1333, 1409, 1512, 1695, 2085, 2687, 4197), 6421),
    "text": _Kind(561, (870, 896, 916, 930, 945, 972, 1023, 1343, 1890, 5226), 11798),
    "call": _Kind(1414, (949, 991, 1010, 1020, 1038, 1063, 1104, 1324, 1844, 4113), 11427),
}
_RESULT = _Kind(1384, (636, 796, 1173, 1793, 3009, 5279, 8319, 12426, 20274, 49595), 104493)
"""Lines of 48 files of January 2026, 25.7 MB, in a public repository (xiaomoziyi/session-logs). The result of
a call is the line behind it, and has what the tool gave twice."""


class Transcripts(NamedTuple):
    """So many sessions, each written by `make` from its number."""

    what: str
    sessions: int
    make: Callable[[int], bytes]

    def write(self, folder: Path) -> int:
        """A file for each session, an hour old, as most are; returns the bytes of all.

        A program may still go on with younger ones.
        """
        folder.mkdir(exist_ok=True)
        at, size = time.time() - AGE, 0
        for number in range(self.sessions):
            path = folder / f"{number:08}.jsonl"
            size += path.write_bytes(self.make(number))
            os.utime(path, (at, at))
        return size


def short(sessions: int, messages: int) -> Transcripts:
    """Lines of 0.9 KB."""
    what = f"{sessions:,} sessions of {messages} messages"
    return Transcripts(what, sessions, lambda number: _lines(number, _short(number, messages)))


def usual(sessions: int) -> Transcripts:
    """Lines of 5 KB in the mean, half of them below 1.3: as long as in real files."""
    what = f"{sessions:,} sessions with lines as long as real ones"
    return Transcripts(what, sessions, lambda number: _lines(number, _usual(number)))


def prompt(number: int, place: int, text: str) -> bytes:
    """A line that is added to the session of that number."""
    return _line(number, place, _prompt(text))


def _short(number: int, messages: int) -> list[dict[str, Any]]:
    """A prompt, a reply, a tool call and its result, and so on."""
    entries: list[dict[str, Any]] = []
    for place in range(messages):
        if place % 4 == 1:
            entries.append(_said({"type": "text", "text": "word " * 60}, place))
        elif place % 4 == 2:
            entries.append(_call(number, place, f"grep -rn parser{place} src"))
        elif place % 4 == 3:
            entries.append(_result(number, place, f"src/a.py:{place}: parser\n" * 20))
        else:
            entries.append(_prompt(f"{number} {place} " + "word " * 60))
    return entries


def _usual(number: int) -> list[dict[str, Any]]:
    chance = random.Random(number)
    kinds, weights = list(_REAL), [kind.number for kind in _REAL.values()]
    entries = [_prompt(f"{number} {_text(chance, 500)}")]
    while len(entries) < _LINES:
        place = len(entries)
        name = chance.choices(kinds, weights)[0]
        text = _text(chance, _length(chance, _REAL[name]))
        if name == "prompt":
            entries.append(_prompt(text))
        elif name == "call":
            entries.append(_call(number, place, text))
            entries.append(_result(number, place + 1, _text(chance, _length(chance, _RESULT) // 2)))
        else:
            entries.append(_said({"type": name, name: text}, place))
    return entries


def _length(chance: random.Random, kind: _Kind) -> int:
    """Of the text of a line, some 500 bytes of which are other fields."""
    length = kind.longest if chance.random() < 1 / 20 else chance.choice(kind.lengths[:-1])
    return max(20, length - 500)


@cache
def _stream() -> list[str]:
    """Words as common as in a language: the nth is n times rarer than the first (Zipf's law)."""
    chance = random.Random(42)
    words = [
        "".join(chance.choices("etaoinshrdlucmfwypvbgkqjxz_", k=chance.randint(2, 12))) for _ in range(20_000)
    ]
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    return chance.choices(words, cum_weights=weights, k=400_000)


def _text(chance: random.Random, length: int) -> str:
    stream = _stream()
    words = length // 6 + 1
    at = chance.randrange(len(stream) - words)
    return " ".join(stream[at : at + words])[:length]


def _prompt(text: str) -> dict[str, Any]:
    return {"message": {"role": "user", "content": text}}


def _said(block: dict[str, Any], place: int) -> dict[str, Any]:
    return {"message": {"role": "assistant", "id": f"msg_{place}", "content": [block], "usage": _USAGE}}


def _call(number: int, place: int, command: str) -> dict[str, Any]:
    given = {"command": command, "description": "Find the parser"}
    return _said({"type": "tool_use", "id": f"toolu_{number}_{place}", "name": "Bash", "input": given}, place)


def _result(number: int, place: int, output: str) -> dict[str, Any]:
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}_{place - 1}", "content": output}
    said = {"stdout": output, "stderr": "", "interrupted": False}
    return {"message": {"role": "user", "content": [result]}, "toolUseResult": said}


def _lines(number: int, entries: list[dict[str, Any]]) -> bytes:
    return b"".join(_line(number, place, entry) for place, entry in enumerate(entries))


def _line(number: int, place: int, entry: dict[str, Any]) -> bytes:
    line = {
        "parentUuid": _uuid(number, place - 1) if place else None,
        "isSidechain": False,
        "userType": "external",
        "cwd": "/home/ada/parser",
        "sessionId": f"s{number}",
        "version": "2.1.45",
        "gitBranch": "main",
        "type": entry["message"]["role"],
        **entry,
        "message": {"model": _MODEL, **entry["message"]},
        "uuid": _uuid(number, place),
        "timestamp": f"2026-01-15T{10 + place // 3600:02}:{place // 60 % 60:02}:{place % 60:02}.000Z",
    }
    return json.dumps(line).encode() + b"\n"


def _uuid(number: int, place: int) -> str:
    return f"{number:08x}-0000-4000-8000-{place:012x}"
