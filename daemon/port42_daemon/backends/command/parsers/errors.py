"""What kind of failure a message speaks of: the sentences of the real tools, and HTTP's numbers."""

from __future__ import annotations

import re

from port42_daemon.backends.base import Failure, FailureKind

# In this order: "429 … check your API key's quota" is a limit, not a missing login.
_KINDS: dict[FailureKind, re.Pattern[str]] = {
    "rate_limit": re.compile(
        r"\b(429|529)\b|rate.?limit|too many requests|quota|usage limit|hit your .*limit|overloaded",
        re.IGNORECASE,
    ),
    "needs_auth": re.compile(
        r"\b401\b|not logged in|/login\b|log in|unauthori[sz]ed|authenticat|auth method|credential"
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

_LOST = re.compile(
    r"no conversation found|no rollout found|error resuming session"
    r"|\b(session|conversation|thread)\b.{0,120}\b(not found|unknown|no longer|does not exist|expired)"
    r"|\b(no|unknown|invalid|find)\b.{0,40}\b(session|conversation|thread)\b",
    re.IGNORECASE,
)

_ERROR = re.compile(r"(\w*error|fatal|panic)\b", re.IGNORECASE)


def failure(message: str, http_status: int | None = None) -> Failure:
    """The failure that `message`, and the status of the model's server if it is known, speak of."""
    line = " ".join(message.split())[:300]
    spoken = f"{http_status} {line}" if http_status else line
    kind: FailureKind = next((kind for kind, pattern in _KINDS.items() if pattern.search(spoken)), "crashed")
    return Failure(kind, line)


def telling_line(stderr: str) -> str | None:
    """The line of `stderr` that says most: hints and stack traces often follow the error itself."""
    lines = [line.strip() for line in stderr.splitlines()[-40:] if line.strip()]
    for tells in (lambda line: _LOST.search(line) or failure(line).kind != "crashed", _ERROR.match):
        if found := next((line for line in reversed(lines) if tells(line)), None):
            return found
    return lines[-1] if lines else None


def lost_session(said: Failure) -> bool:
    """Whether the tool says that it does not know the session it was to resume."""
    return said.kind == "crashed" and _LOST.search(said.message) is not None
