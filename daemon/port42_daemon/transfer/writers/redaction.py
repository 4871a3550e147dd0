"""Replaces common secrets in texts and records by their kind.

The patterns are based on gitleaks' default rules (gitleaks.toml) and on GitHub's, AWS's, Slack's and Google's
documentation of their tokens. Each decides within `_REACH` characters whether it matches, and then consumes
one run of characters, so that the time is linear in any text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec

from port42_protocol.encoding import encode
from port42_protocol.messages.records import Activity

T = TypeVar("T")

_WINDOW = 64 * 1024
_REACH = 2048
"""`re` holds the GIL, so one call searches `_WINDOW` characters, plus `_REACH` to decide on a match."""


def _token(prefix: str, rest: str) -> str:
    """A pattern not preceded by a letter or digit; `\\b` would miss a key after an underscore.

    The literal prefix comes before the lookbehind, which makes `re` 30 times as fast.
    """
    return rf"{prefix}(?<![A-Za-z0-9]{prefix}){rest}"


_NAME = (
    r"(?:pass(?:word|wd|phrase)|pwd|api[_\- ]?key|access[_-]?key|secret[_-]?access[_-]?key|secret[_-]?key"
    r"|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|private[_-]?key|secret|token)"
)
_SHAPES: tuple[tuple[str, str], ...] = (
    # The end may be missing in a truncated transcript.
    (
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\:,.]++|-(?!-))*+"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    ("anthropic key", _token("sk-ant-", r"[A-Za-z0-9_-]{16,}")),
    ("api key", _token("sk-", r"(?:[a-z]{2,12}-)?[A-Za-z0-9_-]{20,}")),
    ("stripe key", _token("[sr]k_(?:live|test)_", r"[A-Za-z0-9]{16,}")),
    ("github token", _token("gh[pousr]_", r"[A-Za-z0-9]{36,}")),
    ("github token", _token("github_pat_", r"[A-Za-z0-9_]{22,}")),
    ("gitlab token", _token("glpat-", r"[A-Za-z0-9_-]{20,}")),
    ("aws key id", _token("A(?:KIA|SIA|BIA|CCA)", r"[A-Z0-9]{16}(?![A-Za-z0-9])")),
    ("slack token", _token("xox[abeoprs]-", r"[A-Za-z0-9-]{10,}")),
    ("google key", _token("AIza", r"[A-Za-z0-9_-]{35}")),
    ("hugging face token", _token("hf_", r"[A-Za-z0-9]{30,}")),
    ("npm token", _token("npm_", r"[A-Za-z0-9]{36}")),
    # A run without the other two parts is consumed, too: no match can begin later in it.
    (
        "jwt",
        _token(
            "eyJ",
            r"(?:(?P<end>[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+)|[A-Za-z0-9_-]*+)",
        ),
    ),
    # Of the following only the group is replaced: the text around it shows what it was.
    (
        "authorization",
        r"(?i)(?:\bauthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|basic|token)|\bbearer)\s{1,4}"
        r"(?P<secret>[A-Za-z0-9._~+/=-]{12,})",
    ),
    (
        "url password",
        r"://(?<=[a-zA-Z0-9+.-]{2}://)[^\s/:@\"'<>]{0,256}:(?P<secret>[^\s/@\"'<>]{1,256})@",
    ),
    (
        "assignment",
        rf"(?i)(?<![a-z]){_NAME}[\"']?\s{{0,4}}(?::=|=>|[:=])\s{{0,4}}"
        r"(?:\"(?P<double>[^\"\n]{4,512})\"|'(?P<single>[^'\n]{4,512})'|(?P<secret>[^\s\"'<>,;()\[\]{}]{6,512}))",
    ),
)
# A variable or a call is not itself a secret.
_NOT_A_SECRET = re.compile(
    r"\[redacted|\$|%\(|\*{3}|(?:os\.|process\.|env\.|getenv|self\.|None\b|null\b|true\b|false\b|str\b|string\b)",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(rf"(?i){_NAME}\Z")
_KEPT = frozenset({"id", "agent", "format", "seq", "role", "event", "timestamp", "created_at", "session_id"})
"""Fields without free text, such as ids and times, which have to stay valid."""
_CUT = re.compile(r"(\n\[… [\d,]{1,20} bytes left out …\]\n)")
_END_OF_KEY = re.compile(
    r"\A(?:[A-Za-z0-9+/=\s]|-(?!-))*+-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
)
_NESTING = 64
"""Maximum depth of metadata; deeper values become text, because of Python's recursion limit."""


def redact(text: str, counts: Counter[str]) -> str:
    """`text` with each secret as ``[redacted: kind]``, counted in `counts`."""
    for kind, pattern in _patterns():
        parts, end = [], 0
        for match in _matches(pattern, text):
            start, stop = _secret(match)
            if start < stop:
                counts[kind] += 1
                parts += [text[end:start], f"[redacted: {kind}]"]
                end = stop
        if parts:
            text = "".join(parts) + text[end:]
    return text


def redact_record(record: T, counts: Counter[str]) -> T:
    """A header, a footer or a record with every text in it redacted: titles, references, metadata, tags."""
    value = msgspec.to_builtins(record)
    if isinstance(record, Activity):
        value = _without_cut_words(value)
    return msgspec.convert(_redact_value(value, counts), type(record))


def _without_cut_words(value: Any) -> Any:
    """Leaves out the words at which texts of an activity were cut: half a secret would not be recognised."""
    if isinstance(value, dict):
        return {name: _without_cut_words(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_cut_words(item) for item in value]
    if not isinstance(value, str):
        return value
    text, *others = _CUT.split(value)
    for mark, tail in zip(others[::2], others[1::2], strict=True):
        key = _END_OF_KEY.search(tail)
        rest = tail[key.end() :] if key else tail[len(tail) - _last_word(tail[::-1]) :]
        text = text[: _last_word(text)] + mark + rest
    return text[: _last_word(text)] + "…" if text.endswith("…") else text


def _last_word(text: str) -> int:
    """Where the last word of a text begins."""
    return next((end for end in range(len(text), 0, -1) if text[end - 1].isspace()), 0)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Compiled on first use: it takes 3 ms."""
    return [(kind, re.compile(shape)) for kind, shape in _SHAPES]


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """As `finditer`, but a window at a time."""
    position = 0
    while position < len(text):
        limit = position + _WINDOW
        candidate = pattern.search(text, position, limit + _REACH)
        if candidate is None or candidate.start() >= limit:
            position = limit
        elif match := pattern.match(text, candidate.start()):  # it may end after the window
            yield match
            position = match.end()
        else:  # it matched only because the window ended
            position = candidate.start() + 1


def _secret(match: re.Match[str]) -> tuple[int, int]:
    """Start and end of the secret in the text; ``(0, 0)`` in a match without one."""
    groups = match.groupdict()
    name = next((name for name, text in groups.items() if text is not None), None)
    if name is None:
        return (0, 0) if groups else match.span()
    if name == "end":
        return match.span()
    return (0, 0) if _NOT_A_SECRET.match(match[name]) else match.span(name)


def _redact_value(value: Any, counts: Counter[str], name: str = "", depth: int = 0) -> Any:
    if isinstance(value, str):
        if value and name not in _KEPT and _SECRET_NAME.search(name):
            counts["assignment"] += 1
            return "[redacted: assignment]"
        return value if name in _KEPT else redact(value, counts)
    if isinstance(value, dict | list | tuple) and depth == _NESTING:
        return redact(encode(value).decode(), counts)
    if isinstance(value, list | tuple):
        return [_redact_value(item, counts, "", depth + 1) for item in value]
    if isinstance(value, dict):
        # Keys of metadata may contain secrets.
        return {
            redact(key, counts): _redact_value(item, counts, key, depth + 1) for key, item in value.items()
        }
    return value
