"""Classifies failures by HTTP status or by error text, from the messages of real tools and servers."""

from __future__ import annotations

import re
from typing import Any

from port42_daemon.backends.base import Done, Event, Failure, FailureKind, Text, Tool

_SHOWN_CHARS = 300
_READ_CHARS = 20 * _SHOWN_CHARS

# In this order: "429 … check your API key's quota" is a limit, not a missing login.
_KINDS: dict[FailureKind, re.Pattern[str]] = {
    "rate_limit": re.compile(
        r"\b(429|529)\b|rate.?limit|too many requests|quota|usage limit|hit your .*limit|overloaded",
        re.IGNORECASE,
    ),
    "needs_auth": re.compile(
        r"\b401\b|not (logged|signed) in|/login\b|log in|unauthori[sz]ed|authenticat|auth method|credential"
        r"|(invalid|incorrect|missing|no|specify).{0,40}(api[ -]?key|_API_KEY|token)"
        r"|(invalid|incorrect) x-api-key|missing environment variable",
        re.IGNORECASE,
    ),
    "network": re.compile(
        r"\b50[0234]\b|unable to connect|connection|network|ECONN|ENOTFOUND|EAI_AGAIN|fetch failed"
        r"|stream disconnected|error sending request|lookup address|timed? ?out",
        re.IGNORECASE,
    ),
    "refused": re.compile(
        r"\b40[034]\b|content policy|invalid.request|selected model|max(imum)? .*turns", re.IGNORECASE
    ),
}

_LOST_SESSION = re.compile(
    r"no conversation found|no rollout found|error resuming session"
    r"|\b(session|conversation|thread)\b.{0,120}\b(not found|unknown|no longer|does not exist|expired)"
    r"|\b(no|unknown|invalid|find)\b.{0,40}\b(session|conversation|thread)\b",
    re.IGNORECASE,
)

# Claude Code's: it says so in place of a reply.
_LOGIN_ADVICE = re.compile(
    r"\s*(not logged in\b.{0,200}|.{0,200} · please run /login|please run /login · .{0,200})\s*",
    re.IGNORECASE,
)

_ADVICE_CHARS = 500
_ERROR_LINE = re.compile(r"(\w*error|fatal|panic)\b", re.IGNORECASE)


def failure(message: str, http_status: int | None = None) -> Failure:
    line = one_line(message)
    known = f"{http_status} {line}" if http_status else line
    return Failure(kind_of_words(known), line)


def kind_of_words(text: str) -> FailureKind:
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(text)), "crashed")


def kind_of_status(status: int) -> FailureKind:
    """The kind of failure an HTTP status is. 529 is Anthropic's "overloaded": there too, waiting helps."""
    if status in (401, 403):
        return "needs_auth"
    if status in (429, 529):
        return "rate_limit"
    if status == 408:
        return "timeout"
    return "network" if status >= 500 else "refused"


def _asks_for_login(text: str) -> bool:
    return len(text) <= _ADVICE_CHARS and _LOGIN_ADVICE.fullmatch(text) is not None


class ReplyCheck:
    """Makes a turn without a reply a failure, with what the program said instead.

    That is a line on its stderr, or text that only says that nobody is logged in, which is held back.
    """

    def __init__(self) -> None:
        self._login_advice = ""
        self._empty = True

    def take(self, event: Event) -> list[Event]:
        if not isinstance(event, Text | Tool):
            return [event]
        first = self._empty and not self._login_advice
        if first and isinstance(event, Text) and _asks_for_login(event.text):
            self._login_advice = event.text
            return []
        held: list[Event] = [Text(self._login_advice)] if self._login_advice else []
        self._login_advice, self._empty = "", False
        return [*held, event]

    def end(self, done: Done, program: str, stderr: str) -> Done:
        words = self._login_advice
        if self._empty and done.failure is None:
            words = words or telling_line(stderr) or ""
        return Done(failure(f"{program}: {words}"), done.stop_reason) if words else done


def one_line(text: str) -> str:
    """`text` on one line that a terminal can be shown, cut at 300 characters."""
    line = "".join(char if char.isprintable() else " " for char in text[:_READ_CHARS])
    line = " ".join(line.split())
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def words_of(error: Any) -> str:
    """The words of an error object: servers send text, or an object with a `message`, or a list of them."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("msg") or error.get("error") or error.get("detail")
    elif isinstance(error, list):
        # FastAPI's way of refusing a field: the field's place is half of what it says.
        error = "; ".join(
            f"{'.'.join(map(str, part.get('loc', ())))}: {part.get('msg', '')}"
            for part in error
            if isinstance(part, dict) and isinstance(part.get("loc", ()), list | tuple)
        )
    return error[:_READ_CHARS] if isinstance(error, str) else ""


def telling_line(stderr: str) -> str | None:
    """The most informative line of `stderr`: hints and stack traces often follow the error itself."""
    lines = [line.strip() for line in stderr.splitlines()[-40:] if line.strip()]
    for line in reversed(lines):
        if _LOST_SESSION.search(line) or kind_of_words(line) != "crashed":
            return line
    for line in reversed(lines):
        if _ERROR_LINE.match(line):
            return line
    return lines[-1] if lines else None


def lost_session(failed: Failure) -> bool:
    return failed.kind == "crashed" and _LOST_SESSION.search(failed.message) is not None
