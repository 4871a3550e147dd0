"""For a daemon of another version than this command: which of the two is older, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from port42_protocol import __version__

Params = Mapping[str, Any] | list[Any] | None

_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,4}", re.ASCII)


def compared(version: str) -> Literal["older", "newer", "other"]:
    """How a daemon of `version` compares with this command; of two that are not numbers none is older."""
    theirs, ours = _numbers(version), _numbers(__version__)
    if theirs is None or ours is None or theirs == ours:
        return "other"
    return "older" if theirs < ours else "newer"


def told_apart(version: str) -> str:
    """The two versions, in the words that every notice about them begins with."""
    relation = {"older": "older than", "newer": "newer than", "other": "not of the version of"}
    return f"port42d {version} is {relation[compared(version)]} this port42 {__version__}"


def remedy(version: str, started_by: str | None, host: str | None = None) -> str:
    """How to update the older one of the two; `host` is the machine of a daemon that is not on this one."""
    if compared(version) == "newer":
        return "update port42" if host is None else "update port42 here"
    if host is not None:
        return f"update port42 on {host}"
    if started_by == "systemd":
        return "`systemctl --user restart port42` starts the one that is installed"
    if started_by == "launchd":
        return "`launchctl kickstart -k gui/$UID/dev.port42.daemon` starts the one that is installed"
    return "`port42 daemon restart` starts this version's"


def misunderstood(
    method: str, params: Params, reason: str, status: Mapping[str, Any], host: str | None = None
) -> str | None:
    """Why the daemon of that `status` refused a request that this version's would understand, else None."""
    from port42_protocol.codec import decode_params
    from port42_protocol.errors import InvalidParams
    from port42_protocol.methods import METHODS

    version = str(status["version"])
    if version == __version__ or method not in METHODS:
        return None
    try:
        decode_params(METHODS[method].params, params)
    except InvalidParams:
        return None
    what_to_do = remedy(version, status.get("started_by"), host)
    return f"{told_apart(version)} and does not understand {method} as it was sent ({reason}): {what_to_do}"


def _numbers(version: str) -> tuple[int, ...] | None:
    if not _VERSION.fullmatch(version):
        return None
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()  # 1.0 is 1.0.0
    return tuple(numbers)
