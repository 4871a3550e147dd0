"""Times as sessions keep them: RFC 3339 in UTC with milliseconds (``2026-11-23T03:37:11.042Z``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_MAX_MILLISECONDS = 253_402_300_799_999
"""The end of the year 9999, which a time near it is after in UTC when it has a negative offset."""
_TIME = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z",
    re.ASCII,
)


def now(ago: timedelta = timedelta()) -> str:
    """The time, or that of a while `ago`."""
    return rfc3339(datetime.now(UTC) - ago)


def rfc3339(when: datetime) -> str:
    """`when`, which is in UTC."""
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@lru_cache(maxsize=256)  # an append asks several times for the same
def milliseconds(timestamp: str) -> int:
    """Unix milliseconds of an RFC 3339 time, in UTC where it has no offset; 0 of anything else."""
    try:
        when = datetime.fromisoformat(timestamp)
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
        return min(max(since // _MILLISECOND, 0), _MAX_MILLISECONDS)
    except (ValueError, OverflowError):
        return 0


@lru_cache(maxsize=256)
def valid_time(timestamp: str) -> str:
    """The time if it is in this form, else the nearest one in it."""
    if _TIME.fullmatch(timestamp):
        return timestamp
    return rfc3339(_EPOCH + milliseconds(timestamp) * _MILLISECOND)
