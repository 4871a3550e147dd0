"""What goes wrong with a model server, as a `Failure`: which kind it is, and one line for a person."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import msgspec

from port42_daemon.backends.base import Failure, FailureKind

_SAID_CHARS = 300

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
    "not_found_error": "refused",
    "request_too_large": "refused",
    "billing_error": "refused",
    "context_length_exceeded": "refused",
}
"""The servers' own names of errors, which come inside a stream where there is no status any more."""


class Failed(Exception):
    """Ends an attempt with `failure`; `again` says that another one may help."""

    wait: float | None = None
    """How many seconds the server wants to be left alone first."""

    def __init__(self, kind: FailureKind, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)
        self.again = again


class Declined(Failed):
    """The server answered with `status` instead of a reply, and in words `said`, which may be empty."""

    def __init__(self, message: str, status: int, said: str, wait: float | None) -> None:
        again = status in (408, 429) or status >= 500
        super().__init__(kind_of_status(status), message, again=again)
        self.status = status
        self.said = said
        self.wait = wait


def kind_of_status(status: int) -> FailureKind:
    """The kind of failure an HTTP status is. 529 is Anthropic's "overloaded": there too, waiting helps."""
    if status in (401, 403):
        return "needs_auth"
    if status in (429, 529):
        return "rate_limit"
    if status == 408:
        return "timeout"
    return "network" if status >= 500 else "refused"


def kind_of_error(error: Any) -> FailureKind:
    """The kind of an error object inside a stream: by its code or type, `crashed` if they say nothing."""
    if isinstance(error, dict):
        for name in (error.get("code"), error.get("type")):
            if isinstance(name, int) and 400 <= name < 600:
                return kind_of_status(name)
            if isinstance(name, str) and name in _KINDS:
                return _KINDS[name]
    return "crashed"


def said_in(body: str) -> str:
    """What an error's body says to people, or nothing: a page of HTML says nothing."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    if isinstance(answer, dict):
        for name in ("error", "message", "detail"):
            if said := said_by(answer.get(name)):
                return said
    return ""


def said_by(error: Any) -> str:
    """The words of an error object: servers send text, or an object with a `message`, or a list of them."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("msg")
    elif isinstance(error, list):
        # FastAPI's way of refusing a field: the field's place is half of what it says.
        error = "; ".join(
            f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', '')}"
            for one in error
            if isinstance(one, dict) and isinstance(one.get("loc", ()), list | tuple)
        )
    return one_line(error) if isinstance(error, str) else ""


def one_line(text: str) -> str:
    """`text` on one line that a terminal can be shown, cut at 300 characters."""
    line = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(line.split())
    return line if len(line) <= _SAID_CHARS else line[: _SAID_CHARS - 1] + "…"


def why_not_connected(error: BaseException) -> str:
    """The reason at the bottom of a connect error, in words; nothing when it is an unknown one."""
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
        cause = cause.__cause__ or cause.__context__
    return ""
