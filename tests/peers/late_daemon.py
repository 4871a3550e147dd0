"""`port42d` on a machine whose clock is off: ``python late_daemon.py SECONDS [OPTION…]``."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo


def main() -> int:
    off = int(sys.argv.pop(1))
    right = time.time_ns

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=off)

    time.time_ns = lambda: right() + off * 1_000_000_000

    from port42_daemon import __main__
    from port42_daemon.sessions import service

    service.datetime = Clock  # type: ignore[misc]
    return __main__.main()


if __name__ == "__main__":
    sys.exit(main())
