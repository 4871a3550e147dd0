"""Common secrets in texts and records, found by what they look like and replaced by what they were.

The shapes are those of gitleaks' default rules (gitleaks.toml) and of GitHub's, AWS's, Slack's and Google's
own documents on their tokens, made linear: every repetition is bounded or of one class whose end is another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# `\b` would miss a key behind an underscore; before and behind each stands no letter or digit.
_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_NAME = (
    r"(?:pass(?:word|wd|phrase)|pwd|api[_\- ]?key|access[_-]?key|secret[_-]?access[_-]?key|secret[_-]?key"
    r"|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|private[_-]?key|secret|token)"
)
_SECRET_NAME = re.compile(rf"(?i){_NAME}\Z")

_SHAPES: tuple[tuple[str, str], ...] = (
    # The end may be missing where a transcript was cut; what follows the beginning is the key all the same.
    (
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\:,.]|-(?!-))*"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    ("anthropic key", rf"{_START}sk-ant-[A-Za-z0-9_-]{{16,}}"),
    ("api key", rf"{_START}sk-(?:[a-z]{{2,12}}-)?[A-Za-z0-9_-]{{20,}}"),
    ("stripe key", rf"{_START}[sr]k_(?:live|test)_[A-Za-z0-9]{{16,}}"),
    ("github token", rf"{_START}(?:gh[pousr]_[A-Za-z0-9]{{36,}}|github_pat_[A-Za-z0-9_]{{22,}})"),
    ("gitlab token", rf"{_START}glpat-[A-Za-z0-9_-]{{20,}}"),
    ("aws key id", rf"{_START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{_END}"),
    ("slack token", rf"{_START}xox[abeoprs]-[A-Za-z0-9-]{{10,}}"),
    ("google key", rf"{_START}AIza[A-Za-z0-9_-]{{35}}"),
    ("hugging face token", rf"{_START}hf_[A-Za-z0-9]{{30,}}"),
    ("npm token", rf"{_START}npm_[A-Za-z0-9]{{36}}"),
    ("jwt", rf"{_START}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]*"),
)
# Of these only the group `secret` is replaced: who sees the rest knows what stood there.
_AROUND: tuple[tuple[str, str], ...] = (
    (
        "authorization",
        r"(?i)(?:\bauthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|basic|token)|\bbearer)\s{1,4}"
        r"(?P<secret>[A-Za-z0-9._~+/=-]{12,})",
    ),
    ("url password", r"[a-zA-Z][a-zA-Z0-9+.-]{1,30}://[^\s/:@\"'<>]{0,256}:(?P<secret>[^\s/@\"'<>]{1,256})@"),
    (
        "assignment",
        rf"(?i)(?<![a-z]){_NAME}[\"']?\s{{0,4}}(?::=|=>|[:=])\s{{0,4}}"
        r"(?:\"(?P<double>[^\"\n]{4,512})\"|'(?P<single>[^'\n]{4,512})'|(?P<secret>[^\s\"'<>,;()\[\]{}]{6,512}))",
    ),
)
# A variable or a call is where a secret comes from, not one.
_NOT_A_SECRET = re.compile(
    r"\[redacted|\$|%\(|\*{3}|(?:os\.|process\.|env\.|getenv|self\.|None\b|null\b|true\b|false\b|str\b|string\b)",
    re.IGNORECASE,
)

_WHOLE = tuple((kind, re.compile(shape)) for kind, shape in _SHAPES)
_PARTS = tuple((kind, re.compile(shape)) for kind, shape in _AROUND)
_KEPT = frozenset({"id", "agent", "format", "seq", "role", "event", "timestamp", "created_at", "session_id"})
"""Fields that hold no text of anybody's: ids and times would not fit their patterns any more."""


def redact(text: str, counts: Counter[str]) -> str:
    """`text` with each secret as ``[redacted: kind]``, counted in `counts`. Linear in its length."""
    for kind, shape in _WHOLE:
        text, times = shape.subn(f"[redacted: {kind}]", text)
        if times:
            counts[kind] += times
    for kind, shape in _PARTS:
        text = shape.sub(_replacement(kind, counts), text)
    return text


def redact_record(record: T, counts: Counter[str]) -> T:
    """A header, a footer or a message with every text in it redacted: titles, references, metadata, tags."""
    plain = msgspec.to_builtins(record)
    return msgspec.convert(_redact_value(plain, counts), type(record))


def _replacement(kind: str, counts: Counter[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        name = next(name for name, text in match.groupdict().items() if text is not None)
        if _NOT_A_SECRET.match(match[name]):
            return match[0]
        counts[kind] += 1
        start, end = match.start(name) - match.start(), match.end(name) - match.start()
        return f"{match[0][:start]}[redacted: {kind}]{match[0][end:]}"

    return replace


def _redact_value(value: Any, counts: Counter[str], name: str = "") -> Any:
    if isinstance(value, str):
        if name in _KEPT:
            return value
        if value and _SECRET_NAME.search(name):
            counts["assignment"] += 1
            return "[redacted: assignment]"
        return redact(value, counts)
    if isinstance(value, dict):
        # A name may be a secret, too: in metadata it is anybody's.
        return {redact(key, counts): _redact_value(item, counts, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(item, counts) for item in value]
    return value
