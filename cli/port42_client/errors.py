"""Why a command ends without having done what it was asked, each with its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

INTERRUPTED = 130
"""The exit code after Ctrl-C, and after a turn that was stopped."""


class CommandError(Exception):
    """`message` is for people, a sentence without a full stop; `advice` says what to do, a line each."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, *advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class BadInput(CommandError):
    """Invalid input: the message names it and what was expected."""

    exit_code = 2


class Refused(CommandError):
    """The daemon is there, and what was requested is not."""

    exit_code = 1


class DaemonError(Refused):
    """The daemon's own error. `data` is as the method table of the protocol has it."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = dict(data or {})
        self.kind = str(self.data.get("kind", "error"))


class NoDaemon(CommandError):
    """No daemon could be reached or started, or it went away, so nothing is known about sessions."""

    exit_code = 69


class ConnectionLost(NoDaemon):
    """The connection to another machine ended; the daemon there, and a turn of it, may go on."""

    def __init__(self, host: str, *advice: str) -> None:
        super().__init__(f"the connection to {host} was lost", *advice)
        self.host = host
