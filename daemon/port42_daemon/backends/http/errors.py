"""Errors of model servers as a `Failure`: its kind, its message, and when to retry."""

from __future__ import annotations

import html
import math
import random
import re
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from port42_daemon.backends.base import Failure, FailureKind
from port42_daemon.backends.errors import kind_of_status, kind_of_words, words_of

LONGEST_WAIT = 60.0
"""Seconds; a server whose ``Retry-After`` wants more is not asked again by the same turn."""
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0
_MARKUP = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)|<[^>]*>?", re.DOTALL | re.IGNORECASE)

_KINDS: dict[str, FailureKind] = {
    "authentication_error": "needs_auth",
    "permission_error": "needs_auth",
    "invalid_api_key": "needs_auth",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "insufficient_quota": "rate_limit",
    "overloaded_error": "rate_limit",
    "timeout_error": "timeout",
    "invalid_request_error": "refused",
    "exceed_context_size_error": "refused",
    "not_found_error": "refused",
    "request_too_large": "refused",
    "billing_error": "refused",
    "context_length_exceeded": "refused",
}
"""The servers' own names of errors, which come inside a stream where there is no status any more."""


@dataclass(eq=False)
class Failed(Exception):
    """Ends an attempt; `again` says that another one may help, `wait` not before when (s).

    A server that answered with `status` instead of a reply did so in `words`, which may be empty.
    """

    kind: FailureKind
    message: str
    again: bool = False
    wait: float | None = None
    status: int | None = None
    words: str = ""

    @property
    def failure(self) -> Failure:
        return Failure(self.kind, self.message)


def pause_before(attempt: int, wish: float | None) -> float:
    """Seconds until attempt `attempt` + 1, or a little more than the server's `wish`.

    Never quite the same: many turns may be waiting for one server.
    """
    spread = random.uniform(0.5, 1)  # noqa: S311 - it spreads load, it hides nothing
    if wish is not None:
        return wish + _FIRST_PAUSE * (1 - spread)
    return spread * min(_LAST_PAUSE, _FIRST_PAUSE * 2.0**attempt)


def seconds_of(retry_after: str | None) -> float | None:
    """The seconds that a ``Retry-After`` asks for, by their number or by a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = float(parsedate_to_datetime(retry_after).timestamp()) - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def kind_of_error(error: Any) -> FailureKind:
    if isinstance(error, dict):
        for name in (error.get("code"), error.get("type")):
            if isinstance(name, int) and 400 <= name < 600:
                return kind_of_status(name)
            if isinstance(name, str) and name in _KINDS:
                return _KINDS[name]
    return kind_of_words(words_of(error))


def words_in(body: str) -> str:
    """The message in an error's body; empty for HTML pages."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    if isinstance(answer, dict):
        for name in ("error", "message", "detail"):
            if words := words_of(answer.get(name)):
                return words
    return ""


def words_of_page(page: str) -> str:
    return html.unescape(_MARKUP.sub(" ", page))


def why_not_connected(error: BaseException) -> str:
    """The reason at the bottom of a connect error; empty when it is an unknown one."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case BaseExceptionGroup():
                cause = cause.exceptions[0]
                continue
            case ConnectionRefusedError():
                return ": connection refused"
            case socket.gaierror():
                return ": there is no such host"
            case ssl.SSLCertVerificationError():
                return ": its certificate is not trusted"
            case ssl.SSLError():
                return ": it does not speak TLS"
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
    return ""
