"""How long to wait before a model server is asked once more."""

from __future__ import annotations

import math
import random
import time
from email.utils import parsedate_to_datetime

LONGEST_WISH = 60.0
"""Seconds; a server whose ``Retry-After`` wants more is not asked again by the same turn."""

_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0


def pause_before(attempt: int, wish: float | None) -> float:
    """Seconds until attempt `attempt` + 1, or a little more than the server's `wish`.

    Never quite the same: many turns may be waiting for one server.
    """
    spread = random.uniform(0.5, 1)  # noqa: S311 - it spreads load, it hides nothing
    if wish is not None:
        return wish + _FIRST_PAUSE * (1 - spread)
    return spread * min(_LAST_PAUSE, _FIRST_PAUSE * 2.0**attempt)


def wish_of(retry_after: str | None) -> float | None:
    """The seconds that a ``Retry-After`` asks for, by their number or by a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = float(parsedate_to_datetime(retry_after).timestamp()) - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
