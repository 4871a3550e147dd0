"""Why a command ends without having done what it was asked; `app` turns each into its exit code.

CommandError
├── BadInput       2    what was given cannot be sent
├── Refused        1    what was asked for is not there
│   └── DaemonError     the daemon answered with an error
└── NoDaemon       69   no daemon could be reached, so nothing is known about sessions
"""

from __future__ import annotations

from typing import Any, ClassVar

INTERRUPTED = 130
"""The exit code after Ctrl-C, and after a turn that was stopped."""


class CommandError(Exception):
    """`message` is for the person at the terminal, one sentence, without a full stop; `advice` has what
    there is to do about it, a line each.
    """

    exit_code: ClassVar[int]

    def __init__(self, message: str, *advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class BadInput(CommandError):
    """Invalid input: the message names it and what was expected."""

    exit_code = 2


class Refused(CommandError):
    """The daemon is there, and what was asked for is not."""

    exit_code = 1


class DaemonError(Refused):
    """The daemon's own error. Programs read `code` and `kind`; `data` has what the table says."""

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data if data is not None else {}
        self.kind = str(self.data.get("kind", "error"))


class NoDaemon(CommandError):
    """No daemon could be reached or started, or it went away: not the same as having no sessions."""

    exit_code = 69
